"""Archives: list the members of an archive, or store them as blobs; the archive itself is then no longer needed."""

import hashlib
import itertools
import os
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

from preheat.core.digest import SHA256, Digest, Hasher, hasher
from preheat.core.errors import Busy, IntegrityError, LibraryError, NoSpace
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.disk.temporary_file import create
from preheat.library.adopt.intake import Intake
from preheat.library.archive_members import Member, read_members
from preheat.library.blobs.blobs import SMALL
from preheat.library.blobs.disk_errors import disk
from preheat.library.library import Library

_THREADS = 16  # most of their time, they wait for fsync
_TRIES, _RETRY_S = 300, 0.1
_MOST_BEGUN = 64  # small members in memory, of 1 MiB at most

OnRead = Callable[[int], None]


def _silent(size: int) -> None:
    """Ignore the number of bytes."""


def members(path: Path, kind: str) -> tuple[File, ...]:
    """Return the files of the archive at `path`, with their sha256; `kind` is `zip` or `tar`. Nothing is stored.

    Raise IntegrityError as `read_members` does, and if the archive has no file.
    """
    return _files(path, kind, lambda member: _hashed(member, None))


def unpack(
    library: Library, archive: Snapshot, kind: str, on_read: OnRead = _silent, source: Path | None = None
) -> Snapshot:
    """Store the members of an archive as blobs, and record and return their snapshot.

    `archive` is the snapshot of a `url`. Its one verified file is in the library, or at `source`, where no other
    program writes to it. The members are recorded under `archive.ref.members(kind)`, at the archive's commit. The
    archive's blob stays; without a record of its own, `prune` removes it. `on_read` is called with the unpacked bytes
    of each step. Nothing is recorded if the archive is refused: raise IntegrityError as `read_members` does; NoSpace or
    LibraryError if the disk is full.
    """
    source = source or Path(library.held_location(archive.files[0].digest))
    with _Store(library, on_read) as store:
        files = _files(source, kind, store.put)
    snapshot = Snapshot(archive.ref.members(kind), archive.commit, files)
    library.record(snapshot)
    return snapshot


class _Store:
    """Stores members as blobs: small ones by several threads, which wait for the disk; large ones by a temporary file.

    All are stored when the `with` block ends; it raises the errors of the threads.
    """

    def __init__(self, library: Library, on_read: OnRead) -> None:
        library.prepare(0)
        self._library, self._on_read = library, on_read
        self._folder = library.root / "partial"
        # A hard link, where the filesystem has them: the temporary file goes at once.
        self._intakes = [Intake(library.root, library.path, _silent, copy=copy) for copy in (False, True)]
        self._pool = ThreadPoolExecutor(_THREADS)
        self._begun: deque[Future[None]] = deque()
        self._known: set[Digest] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for begun in self._begun:
                begun.result()

    def put(self, member: Member) -> File:
        """Store a member; return its path, size and digest."""
        head = bytearray()
        for piece in member.pieces:
            head += piece
            if len(head) > SMALL:
                return self._put_large(replace(member, pieces=itertools.chain([memoryview(head)], member.pieces)))
        file = File(member.path, len(head), Digest(SHA256, hashlib.sha256(head).hexdigest()))
        self._on_read(len(head))
        if file.digest not in self._known:
            self._known.add(file.digest)
            if len(self._begun) >= _MOST_BEGUN:
                self._begun.popleft().result()
            self._begun.append(self._pool.submit(self._put_small, file, head))
        return file

    def _put_small(self, file: File, body: bytearray) -> None:
        for tries_left in reversed(range(_TRIES)):
            if self._library.holds(file.digest):
                return
            try:
                partial = self._library.begin(file)
                if partial is not None:
                    partial.write(0, memoryview(body))
                    self._library.keep(partial)
            except Busy:  # another process stores the same bytes, which takes it a moment
                if not tries_left:
                    raise
                time.sleep(_RETRY_S)
            else:
                return

    def _put_large(self, member: Member) -> File:
        """Write a member to a temporary file, and make that a blob."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with disk(self._folder):
            path, descriptor = create(self._folder / "unpack", 0o600)
            try:
                file = _hashed(member, descriptor, self._on_read)
                # Locked until it is a blob: prune would otherwise remove it as left behind.
                is_new = self._take(path, file.digest)
            finally:
                path.unlink()
                os.close(descriptor)
            if is_new:  # sealed after the temporary file is gone, whose removal changes the blob's ctime
                self._library.seals.note(file.digest, self._library.path(file.digest))
        return file

    def _take(self, path: Path, digest: Digest) -> bool:
        """Make a temporary file a blob; return whether it is new."""
        if self._library.holds(digest):
            return False
        try:
            self._intakes[0].take(path, digest)
        except NoSpace:
            raise
        except LibraryError:
            self._intakes[1].take(path, digest)
        return True


def _files(path: Path, kind: str, take: Callable[[Member], File]) -> tuple[File, ...]:
    found: dict[str, File] = {}
    for member in read_members(path, kind):
        if member.same_as:
            same = found[member.same_as]
            found[member.path] = File(member.path, same.size, same.digest)
        else:
            found[member.path] = take(member)
    if not found:
        raise IntegrityError(f"the archive {path.name} has no file", hint="use another archive")
    return tuple(found[name] for name in sorted(found))


def _hashed(member: Member, descriptor: int | None, on_read: OnRead = _silent) -> File:
    """Hash a member's bytes, and write them to `descriptor`, if given."""
    naming: Hasher = hasher(SHA256, 0)
    size = 0
    for piece in member.pieces:
        naming.update(piece)
        if descriptor is not None:
            written = 0
            while written < len(piece):
                written += os.write(descriptor, piece[written:])
        size += len(piece)
        on_read(len(piece))
    return File(member.path, size, Digest(SHA256, naming.hexdigest()))
