"""Import: add the models of a bundle to the library, verified, and write its recipes."""

import os
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import IntegrityError, NotPreloaded, Occupied
from preheat.core.events import Listener
from preheat.core.values.replace import replace
from preheat.library.blobs.disk_errors import disk
from preheat.library.library import Library
from preheat.transfer.fetch import Policy
from preheat.verbs.bundles.bundle_file import BundleFile
from preheat.verbs.bundles.bundle_hub import BundleHub
from preheat.verbs.bundles.bundle_index import BundleModel
from preheat.verbs.pull import PullResult, carry_out
from preheat.verbs.pull_plan import PullPlan, plan_need, plan_pull
from preheat.verbs.pull_sources import FileSelection, PullSource
from preheat.verbs.upkeep.noted_apps import note_recipe

_LARGEST_TEXT = 256 << 20
_READERS = 4  # at the same time: the disk and the hashes are the limit, not round trips


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """What to add to the library from a bundle, and the recipes to write below a folder: path and text.

    `apps` are the names of all recipes in the bundle.
    """

    pull: PullPlan
    recipes: tuple[tuple[Path, bytes], ...] = ()
    apps: tuple[str, ...] = ()

    def require(self) -> None:
        """Raise Occupied if a recipe's file exists with another text; LibraryError as `PullPlan.require` does."""
        for path, text in self.recipes:
            if os.path.lexists(path) and not _is(path, text):
                raise Occupied(f"{path} exists already", hint="choose another folder for --recipes", paths=(str(path),))
        self.pull.require()


def plan_import(
    bundle: BundleFile, library: Library, on_event: Listener, recipes: Path | None = None, unsafe: str = "warn"
) -> ImportPlan:
    """Return the plan to add a bundle's models to the library; nothing is changed.

    Raise NotPreloaded if it continues an earlier bundle whose files are not in the library, IntegrityError if it has
    other files of a commit than the library.
    """
    models = [_with_recorded(model, library) for model in bundle.index.models]
    source = BundleHub(bundle, models)
    needs = []
    for model in models:
        selection = FileSelection(unsafe=unsafe, locked=model.wanted)
        sources = [PullSource(bundle.name, source, model.wanted.ref, local=True)]
        needs.append(plan_need(sources, library, on_event, selection))
    plan = plan_pull(needs, library)
    absent = [(need, file) for need in plan.needs for file in need.to_fetch if not bundle.has(file.digest)]
    if absent:
        need, file = absent[0]
        raise NotPreloaded(
            f"{file.path} of {need.ref} is in an earlier bundle, {bundle.index.since}, and not in {library.root}",
            hint="import that bundle first",
        )
    return ImportPlan(plan, () if recipes is None else tuple(_recipes(bundle, recipes)), bundle.index.apps)


def import_bundle(plan: ImportPlan, library: Library, policy: Policy, on_event: Listener) -> tuple[PullResult, ...]:
    """Add the models to the library, and write the recipes, without replacing any.

    Each file is verified with its digest; the next import continues an interrupted one. Raise as `ImportPlan.require`
    does before anything is changed; IntegrityError for bytes that do not match, LibraryError if the disk fails.
    """
    plan.require()
    pulled = carry_out(plan.pull, library, replace(policy, connections=min(policy.connections, _READERS)), on_event)
    for path, text in plan.recipes:
        if not _is(path, text):
            with disk(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with open(path, "xb") as file:
                    file.write(text)
    for path, _ in plan.recipes:
        if path.suffix == ".toml":
            note_recipe(path, library)
    return pulled


def _with_recorded(model: BundleModel, library: Library) -> BundleModel:
    """Return a bundle's version, with what the library has recorded of the same commit, which no bundle may replace.

    Raise IntegrityError if it has other files of the commit, which never changes.
    """
    at = model.wanted.ref.at(model.wanted.commit)
    known = library.find(at)
    if known is None:
        return model
    listed = model.listed
    try:
        listed.held_to(known.at_paths(listed))
    except IntegrityError as error:
        raise IntegrityError(
            f"the bundle has other files of {at} than the library",
            hint=f"do not trust this bundle; if the library is wrong, remove its files first: preheat rm {at}",
        ) from error
    # A digest of another algorithm cannot be compared: of a file that the library has, its own counts.
    ours = {file.path: file for file in known.files if listed.file(file.path) is None or library.has(file.digest)}
    wanted = tuple(ours.pop(file.path, file) for file in model.wanted.files)
    others = tuple(ours.pop(file.path, file) for file in model.others)
    unlisted = None if known.unlisted is None else model.wanted.unlisted
    return BundleModel(replace(model.wanted, files=wanted, unlisted=unlisted), (*others, *ours.values()))


def _recipes(bundle: BundleFile, folder: Path) -> list[tuple[Path, bytes]]:
    found = []
    for app in bundle.index.apps:
        for name in ("preheat.toml", "preheat.lock"):
            text = bundle.text(f"apps/{app}/{name}", _LARGEST_TEXT)
            if text is not None:
                found.append((folder / app / name, text))
    return found


def _is(path: Path, text: bytes) -> bool:
    try:
        return path.is_file() and path.read_bytes() == text
    except OSError:
        return False
