"""View: place what an app needs where it looks for it."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from preheat.errors import LibraryError, UsageError
from preheat.events import Listener, Placed
from preheat.library.library import Library
from preheat.recipes.recipe import Need, Recipe
from preheat.ref import MODELSCOPE
from preheat.snapshot import Snapshot
from preheat.verbs.required import require
from preheat.views.names import renamed
from preheat.views.view import View

_NO_OTHER_NAMES: Mapping[str, str] = MappingProxyType({})


def place_needs(
    recipe: Recipe, library: Library, view_of: Callable[[str], View], on_event: Listener, root: Path | None = None
) -> dict[str, str]:
    """Place every need of `recipe`, all of which must be in the library; return the variables that point there.

    A need without a place of its own goes below `root`, default `library.views` and the app's name. Raise NotPreloaded
    or IntegrityError, as `require` does, before anything is placed.
    """
    required = require(recipe, library, on_event)
    environ: dict[str, str] = {}
    for need, snapshot in required:
        at = _place_of(need, recipe, root or library.views / recipe.name)
        environ |= place(snapshot, library, view_of(need.view), at, on_event, need.to)
    return environ


def place(
    snapshot: Snapshot,
    library: Library,
    view: View,
    at: Path,
    on_event: Listener,
    to: Mapping[str, str] = _NO_OTHER_NAMES,
) -> dict[str, str]:
    """Place one snapshot, with other names for the files that are in `to`.

    Return the variables that make the layout's client look there. Raise LibraryError where it cannot be placed.
    """
    require_names(view, to)
    recorded = library.find(snapshot.ref.at(snapshot.commit))
    whole = recorded is not None and len(recorded.files) == len(snapshot.files)
    # Claimed before it is looked at, so that nobody removes what a link is being made to.
    inside = at.is_relative_to(library.root / "views")  # those are looked through anyway
    with library.wanted(snapshot, None if inside else at):
        library.require_files(snapshot, f"preheat pull {snapshot.ref}")
        try:
            with library.linking(snapshot):
                placement = view.place(renamed(snapshot, to), library.path, at, whole=whole)
        except OSError as error:
            raise LibraryError(
                f"a view cannot be placed at {at}: {os.strerror(error.errno or 0).lower()}",
                hint="name another folder, or check its disk and owner",
            ) from error
        if not inside:
            library.claims.placed(at, [file.digest for file in snapshot.files] if placement.leads else ())
    on_event(Placed(snapshot.ref, view.kind, str(at), placement.links, placement.copied))
    return view.environ(at)


def require_names(view: View, to: Mapping[str, str]) -> None:
    """Raise UsageError when `view` cannot have files under other names, and `to` has some."""
    if to and not view.renames:
        raise UsageError(f"files of a {view.kind} view have the names that its client asks for", hint="leave `to` out")


def place_all(
    snapshots: Iterable[Snapshot], name: str, library: Library, view_of: Callable[[str], View], on_event: Listener
) -> dict[str, str]:
    """Place snapshots for an app without a recipe, each as its own hub's clients look for it, below `views/NAME`."""
    environ: dict[str, str] = {}
    for snapshot in snapshots:
        # ModelScope's new clients read the old layout too.
        kind = "modelscope-old" if snapshot.ref.hub == MODELSCOPE else "hf-cache"
        environ |= place(snapshot, library, view_of(kind), library.views / name / kind, on_event)
    return environ


def everything(library: Library) -> Iterable[Snapshot]:
    """List what the library has, each snapshot with the files that are here, under every name it is known by.

    Those that no branch or tag names come first, so that what is placed last is what a name means.
    """
    known = []
    for snapshot in library.snapshots():
        missing = {file.digest for file in library.missing(snapshot)}
        here = tuple(file for file in snapshot.files if file.digest not in missing)
        names = [name for name, commit in library.revisions(snapshot.ref).items() if commit == snapshot.commit]
        if here:
            known.append((replace(snapshot, files=here), names))
    for snapshot, names in sorted(known, key=lambda one: bool(one[1])):
        for name in names or [snapshot.commit]:
            yield replace(snapshot, ref=snapshot.ref.at(name))


def _place_of(need: Need, recipe: Recipe, root: Path) -> Path:
    return recipe.folder / need.at if need.at else root / need.view
