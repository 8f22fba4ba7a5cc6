"""Placement plan: inspect all paths of views before anything is changed."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from preheat.core.digest import SHA256, Digest, hasher
from preheat.core.events import Listener, Read, Reading
from preheat.core.placement import BEGUN, KEPT, OURS, Mark, StatFields
from preheat.core.ref import MADE
from preheat.core.snapshot import File
from preheat.library.library import Library
from preheat.verbs.placing.allowed_places import Site, places_of, require_bounds, require_free_place, with_real_folder
from preheat.views.occupied import KnownBlobs, PlaceVerdict, algorithms, fitting, judge
from preheat.views.path_state import PathState, see
from preheat.views.placer import read_note
from preheat.views.view_protocol import Alias, Piece, PlacedFile, PriorNote, ViewNote

_ASKED = (PlaceVerdict.OTHER, PlaceVerdict.CHANGED)


class PlannedFile(msgspec.Struct, frozen=True):
    """A path, and the file that will be placed there."""

    path: Path
    file: File


class Conflict(msgspec.Struct, frozen=True):
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


class Found(msgspec.Struct):
    """Result of an inspection: the user's files with the same bytes, the paths that they keep, and the conflicts.

    `real` maps folders to their real paths; `marks` are by real path; `current_states` are the states of files by path.
    """

    same: dict[Path, File] = {}
    kept: set[Path] = set()
    conflicts: list[Conflict] = []
    real: dict[Path, str] = {}
    marks: Mapping[str, Sequence[Mark]] = {}
    current_states: dict[Path, PathState] = {}

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
        self._apps: frozenset[Path] = frozenset()

    def look(self, sites: Sequence[tuple[Site, Sequence[Piece]]]) -> Found:
        """Return the state of all paths of the sites. Raise UsageError if a folder is outside its site's bounds."""
        found = self._found
        if not sites:
            return found
        pieces = [piece for site, pieces in sites for piece in pieces]
        for site, some in sites:
            found.real |= require_bounds(site, some)
        free = [site.free.root for site, _ in sites if site.free is not None]
        found.marks = self._library.marks.below([*(os.path.realpath(site.at) for site, _ in sites), *free])
        ours = [path for path, marks in found.marks.items() if marks[0].state in (OURS, BEGUN)] if free else []
        for site, some in sites:
            require_free_place(site, some, found.real, ours)
        made = (piece for site, some in sites if site.snapshot.ref.hub == MADE for piece in some)
        self._apps = frozenset(path for piece in made if isinstance(piece, PlacedFile) for path in places_of(piece))
        unread = [planned for piece in pieces if isinstance(piece, PlacedFile) for planned in self._spots(piece)]
        self._read(unread)
        for piece in pieces:
            if isinstance(piece, ViewNote) and piece.of not in found.kept:
                self._note(piece)
            elif isinstance(piece, Alias):
                self._alias(piece)
        return found

    def _spots(self, piece: PlacedFile) -> Iterator[PlannedFile]:
        """Inspect a file's paths; yield those whose contents have to be hashed."""
        current_states = self._found.current_states
        for path in places_of(piece):
            current = current_states[path] = current_states.get(path) or see(path)
            if not is_pointer(current, piece):
                yield from self._inspect(PlannedFile(path, piece.file), current)

    def _inspect(self, planned: PlannedFile, current: PathState) -> Iterable[PlannedFile]:
        verdict = self._judge(planned, current, None)
        if verdict is PlaceVerdict.UNREAD:
            return (planned,)
        self._note_verdict(planned, current, verdict)
        return ()

    def _judge(self, planned: PlannedFile, current: PathState, content: frozenset[Digest] | None) -> PlaceVerdict:
        marks = self._found.marks_of(planned.path)
        mark = fitting(current, marks)
        marked = mark is not None and self.is_blob(current, mark.digest)
        blobs = KnownBlobs(self.is_blob(current, planned.file.digest), marked)
        verdict = judge(current, planned.file, marks, blobs, content)
        if verdict in _ASKED and current.names > 1 and self._is_any_blob(current):
            return judge(current, planned.file, marks, KnownBlobs(blobs.wanted, blobs.marked, any=True), content)
        return verdict

    def _note_verdict(self, planned: PlannedFile, current: PathState, verdict: PlaceVerdict) -> None:
        found, file = self._found, planned.file
        if verdict is PlaceVerdict.SAME:
            found.same[planned.path] = file
        elif verdict is PlaceVerdict.KEPT or (verdict in _ASKED and self._is_apps_own(planned.path, current)):
            found.kept.add(planned.path)
        elif verdict in _ASKED:
            what = _what(current, file) if verdict is PlaceVerdict.OTHER else "changed since preheat placed it"
            found.conflicts.append(Conflict(planned.path, what, file.digest, current.blocked))
        elif verdict is PlaceVerdict.OURS and not found.marks:
            self._old = True

    def _is_apps_own(self, path: Path, current: PathState) -> bool:
        """Return whether the app itself makes the file at this path, as it did on the machine where it was traced.

        The app has made the file before preheat placed it, or has written to it since, as to a database.
        """
        return path in self._apps and current.regular and current.blocked is None

    def _read(self, unread: Sequence[PlannedFile]) -> None:
        """Hash the files that could not be identified from their metadata, and note the verdicts."""
        if not unread:
            return
        from preheat.library.blobs.outside_digest import digests_of  # seldom needed, and the app waits for it

        current_states = {planned: see(planned.path) for planned in dict.fromkeys(unread)}
        size = sum(current.look.size for current in current_states.values() if current.look is not None)
        self._on_event(Reading("compare with the files to place", len(current_states), size))
        for planned, current in current_states.items():
            wanted = algorithms(current, planned.file, self._found.marks_of(planned.path))
            content = digests_of(planned.path, wanted, lambda read: self._on_event(Read(read)))
            self._note_verdict(planned, current, self._judge(planned, current, content))

    def _note(self, note: ViewNote) -> None:
        current = see(note.at)
        if current.look is None and current.blocked is None:
            return
        body = read_note(note.at)
        ours = self.is_ours(note.at, body)
        if body is not None and note.settle(PriorNote(body, ours, self._found.same)) is not None:
            return
        marks = self._found.marks_of(note.at)
        if marks and marks[0].state == KEPT:
            self._found.kept.add(note.at)
            return
        wanted = note.settle(PriorNote(None)) or b""
        why = "has other contents" if body is not None else "not a regular file"
        self._found.conflicts.append(Conflict(note.at, why, digest_of(wanted), current.blocked))

    def _alias(self, alias: Alias) -> None:
        current = see(alias.at)
        if (current.look is None and current.blocked is None) or current.target == alias.target:
            return
        marks = self._found.marks_of(alias.at)
        if marks and marks[0].state == KEPT:
            self._found.kept.add(alias.at)
            return
        why = f"leads to {current.target}" if current.target else "not a symlink"
        digest = digest_of(os.fsencode(alias.target))
        self._found.conflicts.append(Conflict(alias.at, why, digest, current.blocked))

    def is_ours(self, at: Path, body: bytes | None) -> bool:
        """Return whether preheat wrote the small file at this path."""
        if body is None or self._old:
            return self._old
        look = see(at).look
        digest = digest_of(body)
        return any(
            (mark.state == OURS and mark.look == look) or (mark.state == BEGUN and mark.digest == digest)
            for mark in self._found.marks_of(at)
        )

    def is_noted(self, path: Path, file: File, current: PathState) -> bool:
        """Return whether metadata alone proves that `path` contains `file`: a link to its blob, or a current mark."""
        if current.blob == file.digest:
            return True
        marks = self._found.marks_of(path)
        mark = fitting(current, marks)
        if mark is None or mark != next((one for one in marks if one.look != StatFields()), None):
            return False
        return mark.digest == file.digest and (mark.look == current.look or self.is_blob(current, mark.digest))

    def is_blob(self, current: PathState, digest: Digest) -> bool:
        """Return whether the path is a hard link to the blob."""
        if current.look is None or current.names < 2 or current.target:
            return False
        try:
            blob = self._library.path(digest).stat()
        except OSError:
            return False
        return (blob.st_ino, blob.st_dev) == (current.look.inode, current.device)

    def _is_any_blob(self, current: PathState) -> bool:
        """Return whether the path is a hard link to any blob. Called for conflicts only: it lists all blobs once."""
        if self._inodes is None:
            from preheat.library.upkeep.inventory import inventory

            blobs = self._library.root / "blobs"
            self._inodes = {self._library.path(blob.names[0]).stat().st_ino for blob in inventory(blobs)}
        return current.look is not None and not current.target and current.look.inode in self._inodes


def digest_of(body: bytes) -> Digest:
    """Return the SHA-256 digest of a small file's contents."""
    naming = hasher(SHA256, len(body))
    naming.update(body)
    return Digest(SHA256, naming.hexdigest())


def is_pointer(current: PathState, piece: PlacedFile) -> bool:
    """Return whether the path is the symlink that the view needs at `piece.pointer`, which points to `piece.at`."""
    return piece.pointer is not None and current.target == os.path.relpath(piece.at, piece.pointer.parent)


def _what(current: PathState, file: File) -> str:
    """Describe a conflicting file."""
    if current.blocked is not None:
        return "a file where a folder is needed"
    if current.target and not current.regular:
        return f"a symlink to {current.target}"
    if not current.regular:
        return "not a regular file"
    assert current.look is not None, "the path exists"
    if current.look.size != file.size:
        return f"{current.look.size} bytes, not {file.size}"
    return f"contents differ from {str(file.digest)[:20]}…"
