"""Placement plan: inspect all paths of views before anything is changed."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from preheat.core.digest import SHA256, Digest, hasher
from preheat.core.events import Listener, Read, Reading
from preheat.core.placement import BEGUN, KEPT, OURS, Look, Mark
from preheat.core.snapshot import File
from preheat.library.blobs.outside_digest import digests_of
from preheat.library.library import Library
from preheat.library.upkeep.inventory import inventory
from preheat.verbs.placing.allowed_places import Site, places_of, require_bounds, require_free_place, with_real_folder
from preheat.views.occupied import KnownBlobs, PlaceVerdict, algorithms, fitting, judge
from preheat.views.path_state import PathState, see
from preheat.views.placer import read_note
from preheat.views.view_protocol import Alias, Before, Bytes, Piece, ViewNote

_ASKED = (PlaceVerdict.OTHER, PlaceVerdict.CHANGED)


@dataclass(frozen=True, slots=True)
class Spot:
    """A path, and the file that will be placed there."""

    path: Path
    file: File


@dataclass(frozen=True, slots=True)
class Conflict:
    """The blob `digest` cannot be placed at `path`, because another file is there; `why` describes that file.

    If the other file is at a parent of `path`, where a folder is needed, `blocked` is that parent.
    """

    path: Path
    why: str
    digest: Digest
    blocked: Path | None = None

    @property
    def place(self) -> Path:
        """Return the path that would have to be moved."""
        return self.blocked or self.path


@dataclass(slots=True)
class Found:
    """Result of an inspection: the user's files with the same bytes, the paths that they keep, and the conflicts.

    `real` maps folders to their real paths; `marks` are by real path; `sights` are the states of files by path.
    """

    same: dict[Path, File] = field(default_factory=dict)
    kept: set[Path] = field(default_factory=set)
    conflicts: list[Conflict] = field(default_factory=list)
    real: dict[Path, str] = field(default_factory=dict)
    marks: Mapping[str, Sequence[Mark]] = field(default_factory=dict)
    sights: dict[Path, PathState] = field(default_factory=dict)

    def marks_of(self, path: Path) -> Sequence[Mark]:
        """Return the marks of a path, newest first."""
        return self.marks.get(with_real_folder(path, self.real), ())


class PlacementPlan:
    """Inspects sites in the user's folders, without changing anything."""

    def __init__(self, library: Library, on_event: Listener) -> None:
        self._library = library
        self._on_event = on_event
        self._inodes: set[int] | None = None
        self._found = Found()
        self._old = False

    def look(self, sites: Sequence[tuple[Site, Sequence[Piece]]]) -> Found:
        """Return the state of all paths of the sites. Raise UsageError if a folder is outside its site's bounds."""
        found = self._found
        pieces = [piece for site, pieces in sites for piece in pieces]
        for site, some in sites:
            found.real |= require_bounds(site, some)
        free = [site.free.root for site, _ in sites if site.free is not None]
        found.marks = self._library.marks.below([*(os.path.realpath(site.at) for site, _ in sites), *free])
        ours = [path for path, marks in found.marks.items() if marks[0].word in (OURS, BEGUN)] if free else []
        for site, some in sites:
            require_free_place(site, some, found.real, ours)
        unread = [spot for piece in pieces if isinstance(piece, Bytes) for spot in self._spots(piece)]
        self._read(unread)
        for piece in pieces:
            if isinstance(piece, ViewNote) and piece.of not in found.kept:
                self._note(piece)
            elif isinstance(piece, Alias):
                self._alias(piece)
        return found

    def _spots(self, piece: Bytes) -> Iterator[Spot]:
        """Inspect a file's paths; yield those whose contents have to be hashed."""
        sights = self._found.sights
        for path in places_of(piece):
            sight = sights[path] = sights.get(path) or see(path)
            if not is_pointer(sight, piece):
                yield from self._look(Spot(path, piece.file), sight)

    def _look(self, spot: Spot, sight: PathState) -> Iterable[Spot]:
        standing = self._judge(spot, sight, None)
        if standing is PlaceVerdict.UNREAD:
            return (spot,)
        self._note_standing(spot, sight, standing)
        return ()

    def _judge(self, spot: Spot, sight: PathState, content: frozenset[Digest] | None) -> PlaceVerdict:
        marks = self._found.marks_of(spot.path)
        mark = fitting(sight, marks)
        marked = mark is not None and self.is_blob(sight, mark.digest)
        blobs = KnownBlobs(self.is_blob(sight, spot.file.digest), marked)
        standing = judge(sight, spot.file, marks, blobs, content)
        if standing in _ASKED and sight.names > 1 and self._is_any_blob(sight):
            return judge(sight, spot.file, marks, replace(blobs, any=True), content)
        return standing

    def _note_standing(self, spot: Spot, sight: PathState, standing: PlaceVerdict) -> None:
        found, file = self._found, spot.file
        if standing is PlaceVerdict.SAME:
            found.same[spot.path] = file
        elif standing is PlaceVerdict.KEPT:
            found.kept.add(spot.path)
        elif standing in _ASKED:
            what = _what(sight, file) if standing is PlaceVerdict.OTHER else "changed since preheat placed it"
            found.conflicts.append(Conflict(spot.path, what, file.digest, sight.blocked))
        elif standing is PlaceVerdict.OURS and not found.marks:
            self._old = True

    def _read(self, unread: Sequence[Spot]) -> None:
        """Hash the files that could not be identified from their metadata, and note the verdicts."""
        if not unread:
            return
        sights = {spot: see(spot.path) for spot in dict.fromkeys(unread)}
        size = sum(sight.look.size for sight in sights.values() if sight.look is not None)
        self._on_event(Reading("compare with the files to place", len(sights), size))
        for spot, sight in sights.items():
            wanted = algorithms(sight, spot.file, self._found.marks_of(spot.path))
            content = digests_of(spot.path, wanted, lambda read: self._on_event(Read(read)))
            self._note_standing(spot, sight, self._judge(spot, sight, content))

    def _note(self, note: ViewNote) -> None:
        sight = see(note.at)
        if sight.look is None and sight.blocked is None:
            return
        body = read_note(note.at)
        ours = self.is_ours(note.at, body)
        if body is not None and note.settle(Before(body, ours, self._found.same)) is not None:
            return
        marks = self._found.marks_of(note.at)
        if marks and marks[0].word == KEPT:
            self._found.kept.add(note.at)
            return
        wanted = note.settle(Before(None)) or b""
        why = "has other contents" if body is not None else "not a regular file"
        self._found.conflicts.append(Conflict(note.at, why, digest_of(wanted), sight.blocked))

    def _alias(self, alias: Alias) -> None:
        sight = see(alias.at)
        if (sight.look is None and sight.blocked is None) or sight.target == alias.target:
            return
        marks = self._found.marks_of(alias.at)
        if marks and marks[0].word == KEPT:
            self._found.kept.add(alias.at)
            return
        why = f"leads to {sight.target}" if sight.target else "not a symlink"
        digest = digest_of(os.fsencode(alias.target))
        self._found.conflicts.append(Conflict(alias.at, why, digest, sight.blocked))

    def is_ours(self, at: Path, body: bytes | None) -> bool:
        """Return whether preheat wrote the small file at this path."""
        if body is None or self._old:
            return self._old
        look = see(at).look
        digest = digest_of(body)
        return any(
            (mark.word == OURS and mark.look == look) or (mark.word == BEGUN and mark.digest == digest)
            for mark in self._found.marks_of(at)
        )

    def is_noted(self, path: Path, file: File, sight: PathState) -> bool:
        """Return whether metadata alone proves that `path` contains `file`: a link to its blob, or a current mark."""
        if sight.blob == file.digest:
            return True
        marks = self._found.marks_of(path)
        mark = fitting(sight, marks)
        if mark is None or mark != next((one for one in marks if one.look != Look()), None):
            return False
        return mark.digest == file.digest and (mark.look == sight.look or self.is_blob(sight, mark.digest))

    def is_blob(self, sight: PathState, digest: Digest) -> bool:
        """Return whether the path is a hard link to the blob."""
        if sight.look is None or sight.names < 2 or sight.target:
            return False
        try:
            blob = self._library.path(digest).stat()
        except OSError:
            return False
        return (blob.st_ino, blob.st_dev) == (sight.look.inode, sight.device)

    def _is_any_blob(self, sight: PathState) -> bool:
        """Return whether the path is a hard link to any blob. Called for conflicts only: it lists all blobs once."""
        if self._inodes is None:
            blobs = self._library.root / "blobs"
            self._inodes = {self._library.path(blob.names[0]).stat().st_ino for blob in inventory(blobs)}
        return sight.look is not None and not sight.target and sight.look.inode in self._inodes


def digest_of(body: bytes) -> Digest:
    """Return the SHA-256 digest of a small file's contents."""
    naming = hasher(SHA256, len(body))
    naming.update(body)
    return Digest(SHA256, naming.hexdigest())


def is_pointer(sight: PathState, piece: Bytes) -> bool:
    """Return whether the path is the symlink that the view needs at `piece.pointer`, which points to `piece.at`."""
    return piece.pointer is not None and sight.target == os.path.relpath(piece.at, piece.pointer.parent)


def _what(sight: PathState, file: File) -> str:
    """Describe a conflicting file."""
    if sight.blocked is not None:
        return "a file where a folder is needed"
    if sight.target and not sight.regular:
        return f"a symlink to {sight.target}"
    if not sight.regular:
        return "not a regular file"
    assert sight.look is not None, "the path exists"
    if sight.look.size != file.size:
        return f"{sight.look.size} bytes, not {file.size}"
    return f"contents differ from {str(file.digest)[:20]}…"
