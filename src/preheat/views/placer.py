"""Placer: carry out a layout: link or write its files, and count the bytes."""

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

import msgspec

from preheat.core.snapshot import File, Snapshot
from preheat.disk.temporary_file import left, put, tidy
from preheat.views.letter_case import one_name
from preheat.views.links import COPY, REFLINK, SYMLINK, OnCopied, link, silent, stands
from preheat.views.view_protocol import Alias, BlobPath, Piece, PlacedFile, Placement, PriorNote, View, ViewNote

_READ = 1 << 20  # bytes at once
EDITED_UP_TO = 1 << 20  # bytes; files that people edit by hand are small, such as configurations


def always(_: Path) -> bool:
    """Return True: the `is_ours` for preheat's own folders, where preheat wrote every note."""
    return True


class Untouched(msgspec.Struct, frozen=True):
    """Paths to leave as they are: the user's files with the `same` bytes, and others that the user wants `kept`."""

    same: Collection[Path] = frozenset()
    kept: Collection[Path] = frozenset()

    def __contains__(self, path: Path) -> bool:
        return path in self.same or path in self.kept


def place(view: View, snapshot: Snapshot, blob_path: BlobPath, at: Path, *, whole: bool) -> Placement:
    """Place a snapshot below `at`, a folder of preheat's own: existing files are replaced.

    All files must have blobs. `whole` means that the snapshot has all of the commit's files. Raise LibraryError if a
    file cannot be placed.
    """
    placer = Placer(blob_path, view)
    placer.lay(view.layout(snapshot, at, whole=whole))
    return placer.placement()


class Placer:
    """Places the files of one view; use a new Placer each time. Files that are already correct are not changed.

    `written` lists the small files, such as refs, that were written. `folders` caches, for each folder, the temporary
    files that killed processes left in it. Placers that share `folders` list each folder only once.
    """

    def __init__(
        self,
        blob_path: BlobPath,
        view: View,
        folders: dict[str, list[Path]] | None = None,
        on_copied: OnCopied = silent,
    ) -> None:
        self._on_copied = on_copied
        self._blob_path = blob_path
        self._ways = tuple(view.ways)
        self._edited = view.edited
        self._left = {} if folders is None else folders
        self._names: dict[str, tuple[Path, File]] = {}
        self._relatives: dict[tuple[str, str], str] = {}
        self._links: Counter[str] = Counter()
        self._copied = 0
        self._has_symlinks = False
        self._symlinks = True
        self.written: list[Path] = []

    def stands(self, file: File, at: Path) -> bool:
        """Return whether the file is linked at `at` already, in a way that this view accepts."""
        return stands(self._blob_path(file.digest), at, self.ways_of(file))

    def settled(self, piece: PlacedFile) -> bool:
        """Return whether a file, and the symlink that clients open, are in place already. Costs three system calls."""
        if piece.pointer is not None:
            try:
                if os.readlink(piece.pointer) != self._relative(piece.at, piece.pointer):  # noqa: PTH115 - a Path is slow
                    return False
            except OSError:
                return False
        return self.stands(piece.file, piece.at)

    def lay(
        self,
        pieces: Iterable[Piece],
        left: Untouched = Untouched(),  # noqa: B008 - frozen
        is_ours: Callable[[Path], bool] = always,
    ) -> None:
        """Place pieces in order, except at the paths in `left`; replace any other file that is in the way.

        `is_ours` returns whether preheat wrote the note at a path. Raise LibraryError if a file cannot be placed.
        """
        for piece in pieces:
            match piece:
                case PlacedFile():
                    self._bytes(piece, left)
                case Alias():
                    if piece.at not in left:
                        self.point(piece.at, piece.target)
                case ViewNote():
                    if piece.at not in left and piece.of not in left.kept:
                        self._note(piece, PriorNote(read_note(piece.at), is_ours(piece.at), left.same))

    def put(self, file: File, at: Path) -> None:
        """Place a file at `at`. Raise LibraryError if no way to link works, or another file already has this name."""
        self._tidy(at)
        self._require_own_name(file, at)
        way = link(self._blob_path(file.digest), at, self.ways_of(file), self._on_copied)
        self._has_symlinks |= way == SYMLINK or (way is None and at.is_symlink())
        if way is None:
            return
        self._links[way] += 1
        if way == COPY:
            self._copied += file.size
        if way in self._ways and not self._is_edited(file):
            # A way that worked once works for the other files too: try it first.
            self._ways = (way, *(other for other in self._ways if other != way))

    def point(self, at: Path, target: str) -> bool:
        """Make `at` a symlink to `target`; return False if the filesystem has no symlinks."""
        self._tidy(at)
        try:
            at.symlink_to(target)
        except FileExistsError:
            if at.is_symlink() and str(at.readlink()) == target:
                return True
        except OSError:
            return False
        else:
            return True
        try:
            put(at, lambda aside: aside.symlink_to(target))
        except OSError:
            if at.is_dir() and not at.is_symlink():
                raise
            return False
        return True

    def write(self, at: Path, data: bytes) -> None:
        """Write `data` to the file `at`, atomically."""
        self._tidy(at)
        put(at, lambda aside: aside.write_bytes(data))

    def placement(self) -> Placement:
        """Return the counts."""
        return Placement(dict(self._links), self._copied, self._has_symlinks)

    def _bytes(self, piece: PlacedFile, left: Untouched) -> None:
        pointer = piece.pointer
        if pointer is None:
            if piece.at not in left:
                self.put(piece.file, piece.at)
        elif pointer not in left:
            self._symlinks = self._symlinks and self.point(pointer, self._relative(piece.at, pointer))
            at = piece.at if self._symlinks else pointer
            if at not in left:
                self.put(piece.file, at)

    def _note(self, note: ViewNote, before: PriorNote) -> None:
        body = note.settle(before)
        if body is not None and body != before.body:
            self.write(note.at, body)
            self.written.append(note.at)

    def ways_of(self, file: File) -> tuple[str, ...]:
        """Return the ways to link a file, in order of preference.

        Users edit small files in some views. If such a view allows more than one way, a small file becomes a separate
        file (reflink or copy), so that an edit does not change the blob.
        """
        if self._is_edited(file):
            return tuple(way for way in (REFLINK, COPY) if way in self._ways)
        return self._ways

    def _is_edited(self, file: File) -> bool:
        return self._edited and len(self._ways) > 1 and COPY in self._ways and file.size <= EDITED_UP_TO

    def _require_own_name(self, file: File, at: Path) -> None:
        """Raise LibraryError if two files would be one on a case-insensitive filesystem."""
        alike, other = self._names.setdefault(str(at).casefold(), (at, file))
        if alike == at or other.digest == file.digest:
            return
        if _one_name(alike, at):
            raise one_name(alike, at)

    def _relative(self, at: Path, pointer: Path) -> str:
        """Return the relative target for a symlink at `pointer` to `at`."""
        # As strings: a Path and its hash take longer than the rest, and a view may have 30,000 files.
        folder, _, name = str(at).rpartition("/")
        folders = folder, str(pointer).rpartition("/")[0]
        if folders not in self._relatives:
            self._relatives[folders] = os.path.relpath(*folders)
        return f"{self._relatives[folders]}/{name}"

    def _tidy(self, at: Path) -> None:
        """Make the folder of `at` if it is missing, and remove temporary files that killed processes left for `at`."""
        folder = str(at).rpartition("/")[0]
        if folder not in self._left:
            at.parent.mkdir(parents=True, exist_ok=True)
            self._left[folder] = left(Path(folder))
        if self._left[folder]:
            tidy(at, self._left[folder])


def read_note(at: Path) -> bytes | None:
    """Read a small regular file; return None if there is none or it cannot be read."""
    # Opened without a stat before, which is a round trip to a share; O_NONBLOCK, since it may be a FIFO.
    try:
        descriptor = os.open(at, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return b"".join(iter(partial(os.read, descriptor, _READ), b""))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _one_name(alike: Path, at: Path) -> bool:
    """Return whether two paths that differ in case are the same file: then the folder lists only one of them."""
    level = next(level for level, parts in enumerate(zip(alike.parts, at.parts, strict=True)) if parts[0] != parts[1])
    folder = Path(*at.parts[:level])
    return at.parts[level] not in {path.name for path in folder.iterdir()} and (folder / at.parts[level]).exists()
