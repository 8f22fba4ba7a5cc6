"""View: place what an app needs where it looks for it."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from preheat.errors import LibraryError
from preheat.events import Listener, Placed
from preheat.library.library import Library
from preheat.recipes.recipe import Need, Recipe
from preheat.snapshot import Snapshot
from preheat.views.view import View


def place_needs(
    recipe: Recipe, library: Library, view_of: Callable[[str], View], on_event: Listener, root: Path | None = None
) -> dict[str, str]:
    """Place every need of `recipe`, all of which must be in the library; return the variables that point there.

    A need without a place of its own goes below `root`, default `views/NAME` in the library. Raise NotPreloaded
    before anything is placed.
    """
    required = [(need, library.require(need.ref, need.files)) for need in recipe.needs]
    environ: dict[str, str] = {}
    for need, snapshot in required:
        at = _place_of(need, recipe, root or library.root / "views" / recipe.name)
        environ |= place(snapshot, library, view_of(need.view), at, on_event)
    return environ


def place(snapshot: Snapshot, library: Library, view: View, at: Path, on_event: Listener) -> dict[str, str]:
    """Place one snapshot; return the variables that make its layout's client look there.

    Raise LibraryError where it cannot be placed.
    """
    try:
        view.place(snapshot, library.path, at)
    except OSError as error:
        raise LibraryError(
            f"a view cannot be placed at {at}: {os.strerror(error.errno or 0).lower()}",
            hint="name another folder, or check its disk and owner",
        ) from error
    on_event(Placed(snapshot.ref, view.kind, str(at)))
    return view.environ(at)


def everything(library: Library) -> Iterable[Snapshot]:
    """List what the library has whole: each snapshot under every name it is known by."""
    for snapshot in library.snapshots():
        if library.missing(snapshot):
            continue
        names = [name for name, commit in library.revisions(snapshot.ref).items() if commit == snapshot.commit]
        for name in names or [snapshot.commit]:
            found = library.find(snapshot.ref.at(name))
            if found is not None:
                yield found


def _place_of(need: Need, recipe: Recipe, root: Path) -> Path:
    return recipe.folder / need.at if need.at else root / need.view
