"""Allowed places: restrict views to the app's folder and the folders that the user allows."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.recipes.recipe import Recipe
from preheat.views.names import renamed
from preheat.views.view_protocol import Alias, Bytes, Piece, View, ViewNote


@dataclass(frozen=True, slots=True)
class Permissions:
    """What the user permits: `places` outside the app's folder, and how to treat conflicting files of the user.

    `replace` moves them aside first, `keep` leaves them and places the rest. `relink` replaces the user's files with
    the same bytes by links to blobs; only for a proof, which restores them.
    """

    replace: bool = False
    keep: bool = False
    places: tuple[Path, ...] = ()
    relink: bool = False


NO_PERMISSION = Permissions()


@dataclass(frozen=True, slots=True)
class Site:
    """A snapshot to place as a view in the folder `at`; `to` maps files to other names.

    `bounds` are the folders that all its paths must be in; empty for a folder in the library, where existing files are
    replaced.
    """

    snapshot: Snapshot
    view: View
    at: Path
    to: Mapping[str, str] = field(default_factory=dict)
    bounds: tuple[str, ...] = ()

    def pieces(self, library: Library) -> tuple[Piece, ...]:
        """Return the files, links and notes that make up the view."""
        recorded = library.find(self.snapshot.ref.at(self.snapshot.commit))
        whole = recorded is not None and len(recorded.files) == len(self.snapshot.files)
        return self.view.layout(renamed(self.snapshot, self.to), self.at, whole=whole)


def bounds(folder: Path, permissions: Permissions) -> tuple[str, ...]:
    """Return the folders that may be written, as real paths: `folder` and the places that the user allows."""
    return tuple(os.path.realpath(place) for place in (folder, *permissions.places))


def require_inside(recipe: Recipe, permissions: Permissions) -> None:
    """Raise UsageError if a need's `at` is outside the app's folder and the user has not allowed it."""
    inside = bounds(recipe.folder, permissions)
    for need in recipe.needs:
        if need.at and not _is_below(os.path.realpath(recipe.folder / need.at), inside):
            raise _outside(f"{recipe.path or recipe.name}: at = {need.at!r}", recipe.folder / need.at, recipe.folder)


def require_bounds(site: Site, pieces: Iterable[Piece]) -> dict[Path, str]:
    """Return the real path of every folder of the pieces; raise UsageError for one outside the site's bounds."""
    real: dict[Path, str] = {}
    for piece in pieces:
        for path in places_of(piece):
            if path.parent not in real:
                real[path.parent] = os.path.realpath(path.parent)
                if not _is_below(real[path.parent], site.bounds):
                    raise _outside(f"{site.snapshot.ref} at {site.at}", path.parent, Path(site.bounds[0]))
    return real


def require_one_each(sites: Sequence[tuple[Site, Sequence[Piece]]]) -> None:
    """Raise UsageError if two sites have different bytes for the same path."""
    if len(sites) < 2 and not any(site.to for site, _ in sites):
        return
    taken: dict[Path, tuple[Site, Bytes]] = {}
    for site, pieces in sites:
        for piece in pieces:
            if not isinstance(piece, Bytes):
                continue
            other_site, other = taken.setdefault(piece.pointer or piece.at, (site, piece))
            if other.file.digest == piece.file.digest:
                continue
            raise UsageError(
                f"{other_site.snapshot.ref} and {site.snapshot.ref} have different files for "
                f"{piece.pointer or piece.at}",
                hint="set another `at` for one of them, or select fewer `files`",
            )


def settled(sites: Sequence[tuple[Site, Sequence[Piece]]]) -> list[tuple[Site, tuple[Piece, ...]]]:
    """Return the sites without pieces that another site overrides: files that yield, and earlier single notes."""
    files = [piece for _, pieces in sites for piece in pieces if isinstance(piece, Bytes)]
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
                if not (isinstance(piece, Bytes) and piece.yields and piece.at in firm)
                and not (isinstance(piece, ViewNote) and piece.single and last[piece.at] != id(piece))
            ),
        )
        for site, pieces in sites
    ]


def places_of(piece: Piece) -> tuple[Path, ...]:
    """Return the paths that a piece occupies."""
    match piece:
        case Bytes() if piece.pointer is not None:
            return (piece.pointer, piece.at)
        case Bytes() | Alias() | ViewNote():
            return (piece.at,)


def with_real_folder(path: Path, real: Mapping[Path, str]) -> str:
    """Return a path with the symlinks of its folder resolved, the form that marks use."""
    return f"{real[path.parent].rstrip('/')}/{path.name}"


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(folder == "/" or path == folder or path.startswith(f"{folder}/") for folder in folders)


def _outside(what: str, path: Path, folder: Path) -> UsageError:
    real = os.path.realpath(path)
    return UsageError(f"{what} is outside {folder}: it leads to {real}", hint=f"to allow it: --allow-place {real}")
