"""Partial: a blob on its way in, that remembers which bytes it has."""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from preheat.errors import IntegrityError, LibraryError, NoSpace
from preheat.library.journal import Journal, boot_id
from preheat.library.lock import Lock
from preheat.library.ranges import Range, gaps, merge, without
from preheat.library.tide import SMALL, Tide
from preheat.snapshot import File

_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


class Partial:
    """The bytes of one file so far. Safe for threads; `lock`, already taken, keeps other processes out.

    A file of up to a mebibyte keeps no journal: that would cost more than fetching it again.
    """

    def __init__(self, path: Path, file: File, lock: Lock) -> None:
        self.file = file
        self._path = path
        self._file_lock = lock
        self._turn = threading.Condition()
        self._users = 0
        try:
            self._journal = Journal.read(path.with_suffix(".journal"), file.size, boot_id())
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if os.fstat(self._descriptor).st_size != file.size:
                self._journal.remove()
                self._journal = Journal.read(path.with_suffix(".journal"), file.size, boot_id())
                _allocate(self._descriptor, file.size)
        except OSError as error:
            raise disk_trouble(error, path) from error
        self._here = self._journal.ranges
        self._tide = Tide(file)

    @property
    def ranges(self) -> list[Range]:
        """The bytes that are here."""
        with self._turn:
            self._here = merge(self._here)
            return list(self._here)

    @property
    def gaps(self) -> list[Range]:
        """The bytes that are missing."""
        return gaps(self.file.size, self.ranges)

    def write(self, start: int, data: memoryview) -> None:
        """Keep bytes that belong at `start`; once closed, drop them.

        Raise NoSpace or LibraryError if the disk will not have them.
        """
        stop = start + len(data)
        try:
            with contextlib.suppress(_Closed), self._open() as descriptor:
                at = start
                while at < stop:
                    at += os.pwrite(descriptor, data[at - start :], at)
                with self._turn:
                    self._here.append(Range(start, stop))
                    if self.file.size > SMALL:
                        self._journal.wrote(Range(start, stop))
        except OSError as error:
            raise disk_trouble(error, self._path) from error

    def push(self, part: Range) -> None:
        """Have the kernel begin to put a part on disk now, instead of when the file is sealed."""
        if self.file.size > SMALL:
            with contextlib.suppress(_Closed), self._open() as descriptor:
                _begin_writeback(descriptor, part)

    def sync(self) -> None:
        """Put what arrived on disk, and say in the journal that it is there."""
        if self.file.size <= SMALL:
            return
        try:
            with contextlib.suppress(_Closed), self._open() as descriptor:
                with self._turn:
                    ranges = self._journal.undurable()
                os.fdatasync(descriptor)
                with self._turn:
                    self._journal.synced(ranges)
        except OSError as error:
            raise disk_trouble(error, self._path) from error

    def follow(self) -> None:
        """Hash on, up to the first gap, unless another thread is at it: the end is then not far from sealed."""
        if self.file.size > SMALL:
            missing = self.gaps
            with contextlib.suppress(_Closed), self._open() as descriptor:
                self._tide.rise(descriptor, missing[0].start if missing else self.file.size)

    def seal(self) -> dict[str, str]:
        """Verify the whole file and put it on disk; return its digests, hexadecimal by algorithm.

        Raise IntegrityError if it is not what was asked for; it is then as it was, and has no name.
        """
        try:
            digests = self._tide.finish(self._descriptor)
            expected = self.file.digest
            if digests[expected.algorithm] != expected.hex:
                raise IntegrityError(
                    f"{self.file.path} arrived as {expected.algorithm}:{digests[expected.algorithm]}, not {expected}",
                    hint="its bytes were thrown away; pull again, or from another --endpoint",
                )
            os.fchmod(self._descriptor, 0o444)
            os.fsync(self._descriptor)
        except OSError as error:
            raise disk_trouble(error, self._path) from error
        return digests

    def forget(self, wrong: Iterable[Range]) -> None:
        """Take bytes for missing again."""
        with self._turn:
            self._here = without(merge(self._here), merge(wrong))
            self._journal.only(self._here)
            self._tide = Tide(self.file)

    def publish(self, at: Path) -> None:
        """Give the sealed bytes their name."""
        self._path.rename(at)
        self._end()

    def discard(self) -> None:
        """Throw all of it away."""
        self._path.unlink(missing_ok=True)
        self._end()

    def close(self) -> None:
        """Let go; what arrived stays, to go on from."""
        if self._shut():
            self._journal.close()
            self._file_lock.release()

    def _end(self) -> None:
        """Leave nothing behind that only a partial has."""
        if self._shut():
            self._journal.remove()
            self._file_lock.forget()
            self._file_lock.release()

    def _shut(self) -> bool:
        """Close the file when nobody is writing to it, for its number is given to others; say whether it was open."""
        with self._turn:
            descriptor, self._descriptor = self._descriptor, -1
            self._turn.wait_for(lambda: not self._users)
            if descriptor >= 0:
                os.close(descriptor)
            return descriptor >= 0

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """Keep the file open meanwhile; raise _Closed if it is not."""
        with self._turn:
            if self._descriptor < 0:
                raise _Closed(errno.EBADF, os.strerror(errno.EBADF))
            self._users += 1
            descriptor = self._descriptor
        try:
            yield descriptor
        finally:
            with self._turn:
                self._users -= 1
                self._turn.notify_all()


class _Closed(OSError):
    """Somebody let go of the partial."""


def _allocate(descriptor: int, size: int) -> None:
    """Make the file `size` bytes long, with room on disk for all of it where the filesystem can promise that."""
    # fallocate(2) and not posix_fallocate(3), which on a filesystem that cannot would write every block.
    if size > SMALL and hasattr(_libc, "fallocate"):
        outcome = _libc.fallocate(descriptor, 0, ctypes.c_longlong(0), ctypes.c_longlong(size))
        trouble = ctypes.get_errno()
        if outcome != 0 and trouble in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(trouble, os.strerror(trouble))
    os.ftruncate(descriptor, size)


def _begin_writeback(descriptor: int, part: Range) -> None:
    """Ask for writeback and do not wait for it; where nobody can be asked, the last fsync does all of it."""
    if hasattr(_libc, "sync_file_range"):
        start, size = ctypes.c_longlong(part.start), ctypes.c_longlong(part.stop - part.start)
        _libc.sync_file_range(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)


def disk_trouble(error: OSError, path: Path) -> LibraryError:
    """Say in our words what the disk said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left for {path}", hint="free some, or choose another place with --library")
    return LibraryError(f"{path}: {os.strerror(error.errno or 0).lower()}", hint="check the library's disk and owner")
