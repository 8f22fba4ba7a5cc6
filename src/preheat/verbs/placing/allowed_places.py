"""Allowed places: restrict views to the app's folder and the folders that the user allows."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from preheat.core.errors import UsageError
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.recipes.places import split_place
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.placing.free_places import FreePlace, free_place
from preheat.views.names import renamed
from preheat.views.view_protocol import Alias, Piece, PlacedFile, View, ViewNote


class Permissions(msgspec.Struct, frozen=True):
    """What the user permits: `places` outside the app's folder, and how to treat conflicting files of the user.

    `replace` moves them aside first, `keep` leaves them and places the rest. `relink` replaces the user's files with
    the same bytes by links to blobs; only for a proof, which restores them.
    """

    replace: bool = False
    keep: bool = False
    places: tuple[Path, ...] = ()
    relink: bool = False


NO_PERMISSION = Permissions()


class Site(msgspec.Struct, frozen=True):
    """A snapshot to place as a view in the folder `at`; `to` maps files to other names.

    `bounds` are the folders that all its paths must be in; empty for a folder in the library, where existing files are
    replaced. In a `free` place, files may also be created as its rule says; files there are never replaced.
    """

    snapshot: Snapshot
    view: View
    at: Path
    to: Mapping[str, str] = {}
    bounds: tuple[str, ...] = ()
    free: FreePlace | None = None

    def pieces(self, library: Library) -> tuple[Piece, ...]:
        """Return the files, links and notes that make up the view."""
        return self.view.layout(renamed(self.snapshot, self.to), self.at, whole=self.is_whole(library))

    def is_whole(self, library: Library) -> bool:
        """Return whether the snapshot has all files of its commit, as the library has recorded it."""
        recorded = library.find(self.snapshot.ref.at(self.snapshot.commit))
        return recorded is not None and len(recorded.files) == len(self.snapshot.files)


def bounds(folder: Path, permissions: Permissions) -> tuple[str, ...]:
    """Return the folders that may be written, as real paths: `folder` and the places that the user allows."""
    return tuple(os.path.realpath(place) for place in (folder, *permissions.places))


def require_inside(recipe: Recipe, permissions: Permissions) -> None:
    """Raise UsageError if a need's `at` is outside the app's folder and the user has not allowed it."""
    inside = bounds(recipe.folder, permissions)
    for need in recipe.needs:
        if not need.at:
            continue
        at, free = recipe.place_of(need), free_of(recipe, need)
        if not _is_below(os.path.realpath(at), (*inside, *((free.root,) if free is not None else ()))):
            raise _outside(f"{recipe.path or recipe.name}: at = {need.at!r}", at, recipe.folder)


def free_of(recipe: Recipe, need: Need) -> FreePlace | None:
    """Return the free place that a need's `at` names; None if it is in the app's folder or at an absolute path.

    A place that the recipe itself chose, by a variable or by its command, is not free.
    """
    name, places = split_place(need.at)[0], recipe.places
    return None if places is None or name not in places.chosen else free_place(name, places.folder(name))


def require_bounds(site: Site, pieces: Iterable[Piece]) -> dict[Path, str]:
    """Return the real path of every folder of the pieces; raise UsageError for one outside the site's bounds."""
    real: dict[Path, str] = {}
    allowed = (*site.bounds, *((site.free.root,) if site.free is not None else ()))
    for piece in pieces:
        for path in places_of(piece):
            if path.parent not in real:
                real[path.parent] = os.path.realpath(path.parent)
                if not _is_below(real[path.parent], allowed):
                    raise _outside(f"{site.snapshot.ref} at {site.at}", path.parent, Path(allowed[-1]))
    return real


def require_free_place(site: Site, pieces: Iterable[Piece], real: Mapping[Path, str], marked: Iterable[str]) -> None:
    """Raise UsageError for a new file in a free place that its rule does not allow.

    `real` are the folders' real paths, `marked` the real paths of files that preheat placed.
    """
    if site.free is None:
        return
    ours = {str(above) for path in marked for above in Path(path).parents}
    for path in (path for piece in pieces for path in places_of(piece)):
        folder = real[path.parent]
        if _is_below(folder, site.bounds) or os.path.lexists(path):
            continue
        why = site.free.why_not(with_real_folder(path, real), ours.__contains__)
        if why:
            raise UsageError(
                f"{site.snapshot.ref} would create {path}: {why}",
                hint=f"if you trust this recipe: --allow-place {folder}",
            )


def is_replaceable(path: Path, real: Mapping[Path, str], sites: Iterable[Site]) -> bool:
    """Return whether `--replace` may move a user's file aside: not in a place that is only free."""
    folder = real.get(path.parent, os.path.realpath(path.parent))
    return not any(
        site.free is not None and _is_below(folder, (site.free.root,)) and not _is_below(folder, site.bounds)
        for site in sites
    )


def require_one_each(sites: Sequence[tuple[Site, Sequence[Piece]]]) -> None:
    """Raise UsageError if two sites have different bytes for the same path."""
    if len(sites) < 2 and not any(site.to for site, _ in sites):
        return
    taken: dict[Path, tuple[Site, PlacedFile]] = {}
    for site, pieces in sites:
        for piece in pieces:
            if not isinstance(piece, PlacedFile):
                continue
            other_site, other = taken.setdefault(piece.pointer or piece.at, (site, piece))
            if other.file.digest == piece.file.digest:
                continue
            raise UsageError(
                f"{other_site.snapshot.ref} and {site.snapshot.ref} have different files for "
                f"{piece.pointer or piece.at}",
                hint="set another `at` for one of them, or select fewer `files`",
            )


def without_overridden(sites: Sequence[tuple[Site, Sequence[Piece]]]) -> list[tuple[Site, tuple[Piece, ...]]]:
    """Return the sites without overridden pieces: files that yield to another site's, and earlier `single` notes."""
    files = [piece for _, pieces in sites for piece in pieces if isinstance(piece, PlacedFile)]
    some_yield = any(piece.yields for piece in files)
    firm = {piece.at for piece in files if not piece.yields} if some_yield else set()
    last = {
        piece.at: id(piece) for _, pieces in sites for piece in pieces if isinstance(piece, ViewNote) and piece.single
    }
    return [
        (
            site,
            tuple(
                piece
                for piece in pieces
                if not (isinstance(piece, PlacedFile) and piece.yields and piece.at in firm)
                and not (isinstance(piece, ViewNote) and piece.single and last[piece.at] != id(piece))
            ),
        )
        for site, pieces in sites
    ]


def places_of(piece: Piece) -> tuple[Path, ...]:
    """Return the paths that a piece occupies."""
    match piece:
        case PlacedFile() if piece.pointer is not None:
            return (piece.pointer, piece.at)
        case PlacedFile() | Alias() | ViewNote():
            return (piece.at,)


def with_real_folder(path: Path, real: Mapping[Path, str]) -> str:
    """Return a path with the symlinks of its folder resolved, the form that marks use."""
    return f"{real[path.parent].rstrip('/')}/{path.name}"


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(folder == "/" or path == folder or path.startswith(f"{folder}/") for folder in folders)


def _outside(what: str, path: Path, folder: Path) -> UsageError:
    real = os.path.realpath(path)
    return UsageError(f"{what} is outside {folder}: it leads to {real}", hint=f"to allow it: --allow-place {real}")
