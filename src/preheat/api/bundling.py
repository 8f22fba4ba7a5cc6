"""Bundles from Python: carry models, recipes and preheat itself to machines without a network."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from preheat.api.session import Session
from preheat.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from preheat.core.ref import Ref
    from preheat.core.snapshot import File, Snapshot
    from preheat.verbs.bundles.export import BundleApp, ExportPlan
    from preheat.verbs.bundles.import_bundle import ImportPlan
    from preheat.verbs.pull import PullResult

    Folder = str | PathLike[str]


def plan_export(
    *what: str,
    output: Folder,
    since: Sequence[Folder] = (),
    piece: int = 0,
    with_preheat: bool = False,
    session: Session | None = None,
) -> ExportPlan:
    """Return the plan of a bundle with models and apps by name: what it contains, its files and their sizes in bytes.

    `output`: the file to write, or with `piece`, the most bytes of a file, the name of its pieces without their
    numbers. `since`: the files of an earlier bundle, whose blobs are left out. `with_preheat`: add preheat itself.
    Nothing is written. Raise NotPreloaded for files that are not in the library.
    """
    from preheat.core.ref import Ref
    from preheat.verbs.bundles.bundle_file import BundleFile
    from preheat.verbs.bundles.export import ExportOrder
    from preheat.verbs.bundles.export import plan_export as plan

    session = session or Session()
    models: list[Snapshot] = []
    apps: list[BundleApp] = []
    for words in what:
        if session.names_app(words):
            app, theirs = _app(words, session)
            apps.append(app)
            models += theirs
        else:
            models.append(session.library.require(Ref.parse(words)))
    names = [app.name for app in apps]
    twice = next((name for name in names if names.count(name) > 1), "")
    if twice:
        raise UsageError(f"two recipes are named {twice}", hint="export each to a bundle of its own")
    earlier = None
    if since:
        with contextlib.closing(BundleFile([Path(one).absolute() for one in since])) as bundle:
            earlier = bundle.index
    order = ExportOrder(_joined(models), Path(output).absolute(), tuple(apps), earlier, piece, with_preheat)
    return plan(order, session.library)


def export(plan: ExportPlan, *, session: Session | None = None) -> None:
    """Write the bundle of a plan. Raise Occupied if a file exists already, LibraryError if the disk fails."""
    from preheat.verbs.bundles.export import export as write

    session = session or Session()
    write(plan, session.library, session.on_event)


def import_bundle(
    *files: Folder, recipes: Folder | None = None, dry_run: bool = False, session: Session | None = None
) -> tuple[ImportPlan, tuple[PullResult, ...]]:
    """Add the models of a bundle to the library, each file verified with its digest; return the plan and the result.

    `files`: the bundle, or all of its pieces. `recipes`: the folder to write its recipes to, each into a folder with
    its name. With `dry_run`, nothing is changed. The next import continues an interrupted one.

    Raise UsageError for files that are no bundle or not all of it, NotPreloaded if an earlier bundle must be imported
    first, IntegrityError for bytes that do not match their digest.
    """
    from preheat.verbs.bundles.bundle_file import BundleFile
    from preheat.verbs.bundles.import_bundle import import_bundle as take
    from preheat.verbs.bundles.import_bundle import plan_import

    session = session or Session()
    with contextlib.closing(BundleFile([Path(one).absolute() for one in files])) as bundle:
        at = None if recipes is None else Path(recipes).absolute()
        plan = plan_import(bundle, session.library, session.on_event, at, session.settings.unsafe_files)
        if dry_run:
            return plan, ()
        return plan, take(plan, session.library, session.policy, session.on_event)


def _app(words: str, session: Session) -> tuple[BundleApp, list[Snapshot]]:
    """Return an app's recipe, with a lock for it, and its models."""
    from preheat.recipes.builtin_recipes import is_built_in, text_of
    from preheat.recipes.lock_file import Lock, Pinned, lock_path
    from preheat.recipes.lock_writer import lock_text
    from preheat.verbs.bundles.export import BundleApp
    from preheat.verbs.locked_needs import all_required, report_missing

    recipe, unlocked = session.recipe(words), session.unlocked_recipe(words)
    required = all_required(recipe, session.library)
    report_missing(recipe, session.library, session.on_event, required)
    path = lock_path(unlocked)
    if is_built_in(words):
        text = text_of(words).encode()
    else:
        assert unlocked.path is not None, "an app that is not built in was read from a file"
        text = unlocked.path.read_bytes()
    if path.is_file() and not is_built_in(words):
        lock = path.read_bytes()
    else:
        found = {need.stored: snapshot for need, snapshot in required}
        pins = [
            Pinned(old, found[new.stored], depends=new.depends)
            for old, new in zip(unlocked.needs, recipe.needs, strict=True)
            if new.stored in found
        ]
        lock = lock_text(Lock(tuple(pins)), unlocked.folder).encode()
    return BundleApp(recipe.name, text, lock), [snapshot for _, snapshot in required]


def _joined(models: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """Return each version once, with the files of all needs of it, which may each need other files."""
    from dataclasses import replace

    files: dict[tuple[Ref, str], dict[str, File]] = {}
    for model in models:
        files.setdefault((model.ref, model.commit), {}).update((file.path, file) for file in model.files)
    each = {(model.ref, model.commit): model for model in models}
    return tuple(replace(each[key], files=tuple(some.values()), unlisted=None) for key, some in files.items())
