"""Placed files: the paths at which a recipe's needs are placed, and the app's own weights there."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.events import Listener, Noted
from preheat.core.ref import MADE
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.proof.conditions.page_cache_residency import regular_files
from preheat.proof.conditions.set_aside import put_back
from preheat.recipes.places import DIR, SITE_PACKAGES, split_place
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.placing.allowed_places import Permissions
from preheat.verbs.view import sites_of
from preheat.views.view_protocol import PlacedFile, View

_WEIGHTY = 1 << 20  # bytes; smaller files are often part of the app

Known = Sequence[tuple[Need, Snapshot]]


@dataclass(frozen=True, slots=True)
class PlacedFiles:
    """What a proof moves out of the app's own folders, and restores after each start.

    `paths`: all paths at which needs are placed in these folders. `weights`: files there that have the size of a needed
    file of 1 MiB or more, wherever they are in these folders, and symlinks to such files. A cold start would find them.
    """

    folders: tuple[Path, ...] = ()
    paths: frozenset[Path] = frozenset()
    weights: frozenset[Path] = frozenset()

    @property
    def in_the_way(self) -> frozenset[Path]:
        """Return the files at the paths of needs, or at a parent of one, where a folder is needed."""
        parents = {parent for path in self.paths for parent in path.parents if self._inside(parent)}
        return frozenset(
            path for path in self.paths | parents if path.is_symlink() or (path.exists() and not path.is_dir())
        )

    def _inside(self, path: Path) -> bool:
        return any(path != folder and path.is_relative_to(folder) for folder in self.folders)


def lasting_places(recipe: Recipe) -> list[Path]:
    """Return the folders of views that starts share: those in the app's folder and Python, and at absolute paths."""
    return [recipe.place_of(need) for need in recipe.needs if _lasts(need)]


def placed_files(
    recipe: Recipe, known: Known, library: Library, view_of: Callable[[str], View], permissions: Permissions
) -> PlacedFiles:
    """Return the placed files of those needs of `recipe` whose files are known. Reads folders, but no files."""
    folders = tuple(lasting_places(recipe))
    some = [(need, snapshot) for need, snapshot in known if _lasts(need)]
    paths = frozenset(_paths(recipe, some, library, view_of, permissions))
    sizes = {file.size for _, snapshot in known for file in snapshot.files if file.size >= _WEIGHTY}
    return PlacedFiles(folders, paths, frozenset(_alike(folders, sizes)))


def built_files(
    recipe: Recipe, known: Known, library: Library, view_of: Callable[[str], View], permissions: Permissions
) -> list[Path]:
    """Return the paths of files that the app makes itself, and of members of archives whose size is known."""
    some = [(need, one) for need, one in known if need.at and (need.ref.hub == MADE or need.archive_size)]
    return list(_paths(recipe, some, library, view_of, permissions))


def tell_put_back(journals: Path, on_event: Listener) -> None:
    """Put back the files of apps that a killed proof has left aside, and report each."""
    for one in put_back(journals):
        if one.trouble:
            said = f"a proof that was killed had moved it to {one.still}, where it still is: {one.trouble}"
        else:
            said = "put back in place; a proof that was killed had moved it"
            said += f"; the file that was there since is now {one.found}" if one.found is not None else ""
        on_event(Noted(str(one.path), said))


def _lasts(need: Need) -> bool:
    return bool(need.at) and split_place(need.at)[0] in (DIR, SITE_PACKAGES)


def _paths(
    recipe: Recipe, known: Known, library: Library, view_of: Callable[[str], View], permissions: Permissions
) -> Iterator[Path]:
    for site in sites_of(recipe, known, library, view_of, permissions):
        for piece in site.pieces(library):
            yield piece.at
            if isinstance(piece, PlacedFile) and piece.pointer is not None:
                yield piece.pointer


def _alike(folders: Iterable[Path], sizes: set[int]) -> Iterator[Path]:
    for folder in folders:
        for name, status in regular_files([folder]):
            if status.st_size in sizes:
                yield Path(name)
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_symlink() and path.is_file() and path.stat().st_size in sizes:
                yield path
