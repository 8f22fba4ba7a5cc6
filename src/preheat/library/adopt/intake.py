"""Intake: add a file outside the library as a blob, reading it once, and without copying it if possible."""

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import GIT_SHA1, SHA256, Digest, Hasher, hasher
from preheat.core.errors import IntegrityError, LibraryError
from preheat.disk.file_hash import feed_all
from preheat.disk.huge_buffer import make_buffer
from preheat.disk.regular_file import why
from preheat.disk.temporary_file import beside, sync_folder
from preheat.library.adopt.private_files import AS_LINK, IN_LIBRARY, is_opened_by_library, is_opened_by_link
from preheat.library.blobs.blobs import NO_LINK, add_name
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.lease import is_open_for_writing, lease
from preheat.library.blobs.partial import BLOB_MODE

ELSEWHERE = "it is on another filesystem"
_FICLONE = 0x40049409  # linux/fs.h: share the source's extents, copy-on-write
_NO_REFLINK = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)
_STEP = 1 << 20
# Up to this size, blobs get names by both digests, as in a pull.
_BOTH_UP_TO = 1 << 20
# Hubs store larger files in LFS, by sha256.
_LFS_FROM = 1 << 20


@dataclass(frozen=True, slots=True)
class AddedBlob:
    """A file that is now a blob. `how`: `reflink`, `hardlink` or `copy`; `here` if the blob already existed."""

    digest: Digest
    size: int
    how: str


class Intake:
    """Adds files to one library; calls `on_read` with the number of bytes of each step. Thread-safe.

    `guarded`: it adds no file that other users could read only then.
    """

    def __init__(
        self,
        root: Path,
        path_of: Callable[[Digest], Path],
        on_read: Callable[[int], None],
        *,
        copy: bool = False,
        guarded: bool = False,
    ) -> None:
        self._root, self._aside = root, root / "partial"
        self._guarded = guarded
        self._path_of = path_of
        self._listener = on_read
        self._copy = copy
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End running calls of `take` at their next step, with an error; after Ctrl-C in another thread."""
        self._stopped.set()

    def _on_read(self, size: int) -> None:
        if self._stopped.is_set():
            raise LibraryError("interrupted")
        self._listener(size)

    def take(self, source: Path, expected: Digest | None, known: os.stat_result | None = None) -> AddedBlob:
        """Add the regular file `source` as a blob, after verifying its `expected` digest, if given.

        Try a reflink first; no other process can write to it. Otherwise create a copy if `copy` is set, or else a hard
        link, which makes `source` read-only too. `known`: the stat result with which `source` had these bytes when this
        user hashed it; if it is the same now, the bytes are not read again.

        Raise IntegrityError if the digest is wrong or the file changes while being read; LibraryError if it cannot be
        read or linked.
        """
        if expected is not None and self._path_of(expected).exists():
            return AddedBlob(expected, self._path_of(expected).stat().st_size, "here")
        aside = beside(self._aside / "adopt")
        try:
            with open(os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                return self._take(source, file.fileno(), aside, expected, known)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise disk_trouble(error, self._aside) from error
            said = f"it cannot be adopted: {why(error)}"
            raise LibraryError(said, hint="--copy, if it can be read") from error
        finally:
            # If this fails, prune removes the file later.
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    def _take(
        self, source: Path, descriptor: int, aside: Path, expected: Digest | None, known: os.stat_result | None
    ) -> AddedBlob:
        before = os.fstat(descriptor)
        if known is not None and (before.st_size <= _BOTH_UP_TO or _stat(before) != _stat(known)):
            known = None
        if not stat.S_ISREG(before.st_mode):
            raise LibraryError("it is not a regular file")
        if expected is None and is_open_for_writing(descriptor):
            # Nothing says how long the file will be: half of it would become a blob.
            raise IntegrityError("another program is writing to it", hint="adopt it again when that is done")
        if self._guarded and is_opened_by_library(source, before, self._root):
            raise LibraryError(IN_LIBRARY, hint="--share")
        how, target = self._link(source, descriptor, aside)
        digests: dict[str, str] = {}
        try:
            if how == "hardlink":
                before = os.fstat(descriptor)  # the new hard link changed the ctime
            hashers = _hashers(before.st_size, expected)
            if expected is not None and known is not None and _is_unwritten(descriptor, known, how):
                digests, size = {expected.algorithm: expected.hex}, before.st_size
            elif how == "copy":
                size = _copy(descriptor, target, hashers, self._on_read)
            elif how == "reflink":
                size = feed_all(target, hashers.values(), self._on_read)
            else:
                with lease(target) as is_held:
                    size = feed_all(target, hashers.values(), self._on_read, is_held)
            after = os.fstat(descriptor)
            # A reflink cannot change: no other process has it open.
            if how != "reflink" and (_stat(after) != _stat(before) or size != before.st_size):
                raise IntegrityError(
                    "it changed while it was read", hint="adopt it again when no program is writing to it"
                )
            digests = digests or {name: one.hexdigest() for name, one in hashers.items()}
            digest = expected or _usual(size, digests)
            if digests[digest.algorithm] != digest.hex:
                raise IntegrityError(f"its bytes are {digest.algorithm}:{digests[digest.algorithm]}, not {digest}")
            os.fchmod(target, BLOB_MODE)
            # Needed for a hard link too: the source may have been written just before.
            os.fsync(target)
            # The file stays locked until it has its name: prune could otherwise remove it as left behind.
            return AddedBlob(digest, size, how if self._name(aside, digest, digests) else "here")
        finally:
            os.close(target)

    def _link(self, source: Path, descriptor: int, aside: Path) -> tuple[str, int]:
        """Create the temporary file; return how it was made, and its open descriptor, which holds the lock."""
        target = take(aside, 0o600)
        if target is None:
            raise LibraryError("a concurrent prune removed its temporary file", hint="adopt it again")
        try:
            fcntl.ioctl(target, _FICLONE, descriptor)
        except OSError as error:
            if error.errno in _NO_REFLINK and self._copy:
                return "copy", target
            os.close(target)
            if error.errno not in _NO_REFLINK:
                raise
            aside.unlink()
            if self._guarded and is_opened_by_link(source, os.fstat(descriptor)):
                raise LibraryError(AS_LINK, hint="--copy") from error
            return "hardlink", _hard_link(source, descriptor, aside)
        return "reflink", target

    def _name(self, aside: Path, digest: Digest, digests: dict[str, str]) -> bool:
        """Rename a verified file to its blob paths; return False if the library already had the blob."""
        names = [Digest(algorithm, value) for algorithm, value in digests.items()]
        first = self._path_of(digest)
        twin = first if first.exists() else None
        for name in names:
            twin = twin or (self._path_of(name) if self._path_of(name).exists() else None)
        for name in names:
            self._path_of(name).parent.mkdir(parents=True, exist_ok=True)
        new = twin is None
        if twin is None:
            aside.rename(first)
            twin = first
        for name in names:
            path = self._path_of(name)
            if path != twin and not path.exists():
                with contextlib.suppress(FileNotFoundError):  # a concurrent prune has just moved the other name
                    add_name(twin, path)
        sync_folder(first.parent)
        if not first.exists():
            aside.rename(first)
        return new


def _hard_link(source: Path, descriptor: int, aside: Path) -> int:
    """Hard-link the source to `aside`; return a descriptor of it, locked unless another process holds the lock."""
    try:
        os.link(source, aside, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, *NO_LINK):
            raise
        said = ELSEWHERE if error.errno == errno.EXDEV else "it cannot be hard-linked"
        raise LibraryError(said, hint="--copy") from error
    target = os.open(aside, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # If another process has locked the source, prune cannot lock it either.
        with contextlib.suppress(OSError):
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(target), os.fstat(descriptor)):
            raise IntegrityError("it changed while it was read", hint="adopt it again when no program is writing to it")
        aside.lstat()  # raises here, instead of at the rename, if a prune removed it before the lock
    except BaseException:
        os.close(target)
        raise
    return target


def _is_unwritten(descriptor: int, known: os.stat_result, how: str) -> bool:
    """Return whether a file is as in its stat result `known`, and no program has it open for writing.

    A hard link that was made since then has changed the file's ctime. A copy is read in any case.
    """
    if how == "copy" or is_open_for_writing(descriptor):
        return False
    now = os.fstat(descriptor)
    return _stat(now) == _stat(known) or (how == "hardlink" and _stat(now)[:2] == _stat(known)[:2])


def _hashers(size: int, expected: Digest | None) -> dict[str, Hasher]:
    algorithms = {SHA256, GIT_SHA1} if size <= _BOTH_UP_TO else {SHA256, expected.algorithm if expected else SHA256}
    return {algorithm: hasher(algorithm, size) for algorithm in sorted(algorithms)}


def _copy(descriptor: int, to: int, hashers: dict[str, Hasher], on_read: Callable[[int], None]) -> int:
    """Copy a file and hash it in the same pass; return its size."""
    buffer = make_buffer(_STEP)
    at = 0
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    while count := os.preadv(descriptor, [buffer], at):
        for one in hashers.values():
            one.update(buffer[:count])
        written = 0
        while written < count:
            written += os.pwrite(to, buffer[written:count], at + written)
        at += count
        on_read(count)
    return at


def _stat(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _usual(size: int, digests: dict[str, str]) -> Digest:
    """Return the digest that hubs would list for a file of this size."""
    algorithm = SHA256 if size >= _LFS_FROM else GIT_SHA1
    return Digest(algorithm, digests[algorithm])
