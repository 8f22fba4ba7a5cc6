"""Intake: make a blob of a file outside the library, after reading it once, and without a copy if possible."""

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import GIT_SHA1, SHA256, Digest, Hasher, hasher
from preheat.core.errors import IntegrityError, LibraryError
from preheat.disk.file_hash import always, feed
from preheat.disk.huge_buffer import make_buffer
from preheat.disk.temporary_file import beside
from preheat.library.blobs.blobs import NO_LINK, name_too, sync_folder
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.lease import lease
from preheat.library.blobs.partial import disk_trouble

_FICLONE = 0x40049409  # linux/fs.h: share the source's extents, copy-on-write
_NO_REFLINK = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM)
_STEP = 1 << 20
_TELL_EVERY = 16 << 20
# As for what is pulled: up to this size a blob is known by both digests.
_BOTH_UP_TO = 1 << 20
# Hubs keep larger files in LFS, named by sha256.
_LFS_FROM = 1 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """A blob that was taken in: what it is, how (`reflink`, `hardlink`, `copy`, or `here` when it was here already)."""

    digest: Digest
    size: int
    how: str


class Intake:
    """The way in, of one library. Safe for threads."""

    def __init__(
        self, root: Path, path_of: Callable[[Digest], Path], on_read: Callable[[int], None], *, copy: bool = False
    ) -> None:
        self._aside = root / "partial"
        self._path_of = path_of
        self._on_read = on_read
        self._copy = copy

    def take(self, source: Path, expected: Digest | None) -> Taken:
        """Take the regular file `source` in, if it is what is `expected`; what nobody expects is taken as it is.

        A reflink is hashed itself, and nobody else can write to it; a hard link is hashed and made read-only, for the
        place it came from too; a copy is only made where that was asked for. Raise IntegrityError for other bytes,
        or when the file changed meanwhile; LibraryError when it cannot be taken or read.
        """
        if expected is not None and self._path_of(expected).exists():
            return Taken(expected, self._path_of(expected).stat().st_size, "here")
        aside = beside(self._aside / "adopt")
        try:
            with open(os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                return self._take(source, file.fileno(), aside, expected)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise disk_trouble(error, self._aside) from error
            why = f"it cannot be taken: {os.strerror(error.errno or 0).lower()}"
            raise LibraryError(why, hint="--copy, if it can be read") from error
        finally:
            # What stays behind is known to prune.
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)

    def _take(self, source: Path, descriptor: int, aside: Path, expected: Digest | None) -> Taken:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise LibraryError("it is not a regular file")
        how, target = self._link(source, descriptor, aside)
        try:
            if how == "hardlink":
                before = os.fstat(descriptor)  # one more name is a change too
            hashers = _hashers(before.st_size, expected)
            if how == "copy":
                size = _copy(descriptor, target, hashers, self._on_read)
            elif how == "reflink":
                size = _hash(target, hashers, self._on_read)
            else:
                with lease(target) as is_held:
                    size = _hash(target, hashers, self._on_read, is_held)
            after = os.fstat(descriptor)
            # Nobody else can write to a reflink: its bytes are what they are.
            if how != "reflink" and (_look(after) != _look(before) or size != before.st_size):
                raise IntegrityError("it changed while it was read", hint="adopt it again when nobody writes to it")
            digests = {name: one.hexdigest() for name, one in hashers.items()}
            digest = expected or _usual(size, digests)
            if digests[digest.algorithm] != digest.hex:
                raise IntegrityError(f"its bytes are {digest.algorithm}:{digests[digest.algorithm]}, not {digest}")
            os.fchmod(target, 0o444)
            # A hard link's too: who wrote it may have done so a moment ago.
            os.fsync(target)
            # Still locked, or a prune would take it for what a crash has left.
            return Taken(digest, size, how if self._name(aside, digest, digests) else "here")
        finally:
            os.close(target)

    def _link(self, source: Path, descriptor: int, aside: Path) -> tuple[str, int]:
        """Make the file aside; return how, and a descriptor of it, which is locked as long as it is open."""
        target = take(aside, 0o600)
        if target is None:
            raise LibraryError("a prune has just removed the file aside", hint="adopt it again")
        try:
            fcntl.ioctl(target, _FICLONE, descriptor)
        except OSError as error:
            if error.errno in _NO_REFLINK and self._copy:
                return "copy", target
            os.close(target)
            if error.errno not in _NO_REFLINK:
                raise
            aside.unlink()
            return "hardlink", _hard_link(source, descriptor, aside)
        return "reflink", target

    def _name(self, aside: Path, digest: Digest, digests: dict[str, str]) -> bool:
        """Give a verified file its names; say whether it had none before."""
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
                with contextlib.suppress(FileNotFoundError):  # a prune beside this process has just moved the twin
                    name_too(twin, path)
        sync_folder(first.parent)
        if not first.exists():
            aside.rename(first)
        return new


def _hard_link(source: Path, descriptor: int, aside: Path) -> int:
    """Give the source one more name; return a descriptor of it, locked where nobody else has it locked."""
    try:
        os.link(source, aside, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, *NO_LINK):
            raise
        why = "it is on another filesystem" if error.errno == errno.EXDEV else "it cannot be linked here"
        raise LibraryError(why, hint="--copy") from error
    target = os.open(aside, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        # Where another process has the source locked, a prune cannot lock it either.
        with contextlib.suppress(OSError):
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(target), os.fstat(descriptor)):
            raise IntegrityError("it changed while it was read", hint="adopt it again when nobody writes to it")
        aside.lstat()  # a prune that came before the lock has removed it: said here, and not when it is to get its name
    except BaseException:
        os.close(target)
        raise
    return target


def _hashers(size: int, expected: Digest | None) -> dict[str, Hasher]:
    algorithms = {SHA256, GIT_SHA1} if size <= _BOTH_UP_TO else {SHA256, expected.algorithm if expected else SHA256}
    return {algorithm: hasher(algorithm, size) for algorithm in sorted(algorithms)}


def _hash(
    descriptor: int,
    hashers: dict[str, Hasher],
    on_read: Callable[[int], None],
    is_alone: Callable[[], bool] = always,
) -> int:
    """Read a file once, from its front to its end; return its size."""
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    at = 0
    while True:
        told, at = at, feed(descriptor, at, at + _TELL_EVERY, hashers.values(), is_alone)
        on_read(at - told)
        if at - told < _TELL_EVERY:
            return at


def _copy(descriptor: int, to: int, hashers: dict[str, Hasher], on_read: Callable[[int], None]) -> int:
    """Read a file once, and write it on; return its size."""
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


def _look(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _usual(size: int, digests: dict[str, str]) -> Digest:
    """Name a file as hubs would."""
    algorithm = SHA256 if size >= _LFS_FROM else GIT_SHA1
    return Digest(algorithm, digests[algorithm])
