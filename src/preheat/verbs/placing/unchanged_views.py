"""Unchanged views: check a large view by the times of its folders instead of its files.

A name in a folder appears, disappears or leads elsewhere only with a change of the folder's mtime and ctime. So links
to blobs are still in place if the view is to have the same files, and size, inode and times of its folders and notes
are unchanged. That costs a stat(2) for each folder, not three system calls for each file. These values are in
`views/APP/.placed`. They count only if that file is 3 s younger than all of them: within one tick of the filesystem's
clock, a later change would have the same time.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from preheat.disk.temporary_file import write_whole
from preheat.library.library import Library
from preheat.library.small_files import read_small
from preheat.verbs.placing.allowed_places import Site, places_of
from preheat.views.links import HARDLINK, SYMLINK, stands
from preheat.views.view_protocol import Piece, PlacedFile, ViewNote

NAME = ".placed"
_FEWEST = 64  # files: fewer are looked at one by one in less time than a hash of their names takes
_TICKS_NS = 3 * 10**9
_MOST = 64 << 20  # bytes of the file


class _Look(msgspec.Struct, array_like=True, frozen=True):
    path: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class _Placed(msgspec.Struct, frozen=True):
    content: str
    looks: list[_Look]


class UnchangedViews:
    """The views of an app, all in one folder of the library's views; small ones and others always count as changed."""

    def __init__(self, sites: Sequence[Site], library: Library) -> None:
        self._sites = sites
        self._library = library
        own = {site.at.parent for site in sites if not site.bounds and site.at.is_relative_to(library.views)}
        files = sum(len(site.snapshot.files) for site in sites)
        alone = len(own) == 1 and not any(site.bounds or site.free or site.view.edited for site in sites)
        self._at = own.pop() / NAME if alone and files >= _FEWEST else None

    def are_in_place(self) -> bool:
        """Return whether the folders and notes of the views are unchanged since `note` was called."""
        if self._at is None:
            return False
        try:
            placed = msgspec.json.decode(read_small(self._at, _MOST), type=_Placed)
            noted_ns = self._at.stat().st_mtime_ns
        except (OSError, msgspec.DecodeError, ValueError, RecursionError):
            return False
        return (
            placed.content == self._content()
            and all(max(look.mtime_ns, look.ctime_ns) < noted_ns - _TICKS_NS for look in placed.looks)
            and all(look == _look(look.path) for look in placed.looks)
        )

    def note(self, laid: Iterable[Sequence[Piece]]) -> None:
        """Record the state of the views `laid`, which were just placed; not with a copy, which may be edited."""
        if self._at is None:
            return
        paths: set[str] = set()
        for piece in (piece for pieces in laid for piece in pieces):
            if isinstance(piece, PlacedFile):
                if not stands(self._library.location(piece.file.digest), piece.at, (SYMLINK, HARDLINK)):
                    return
            elif isinstance(piece, ViewNote):
                paths.add(str(piece.at))
            paths |= {str(path).rpartition("/")[0] for path in places_of(piece)}
        looks = [look for path in sorted(paths) if (look := _look(path)) is not None]
        with suppress(OSError):
            write_whole(self._at, msgspec.json.encode(_Placed(self._content(), looks)), durable=False)

    def _content(self) -> str:
        """Return a hash of what the views consist of."""
        import hashlib

        hashing = hashlib.sha256()
        for site in self._sites:
            snapshot = site.snapshot
            head = (site.view.kind, *site.view.ways, str(site.at), str(snapshot.ref), snapshot.commit)
            lines = [*head, str(site.is_whole(self._library)), repr(sorted(site.to.items()))]
            lines += (f"{file.digest.algorithm}:{file.digest.hex} {file.path}" for file in snapshot.files)
            hashing.update("\n".join((*lines, "", "")).encode("utf-8", "surrogatepass"))
        return hashing.hexdigest()


def _look(path: str) -> _Look | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return _Look(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
