"""Partial: a blob on its way in, that remembers which bytes it has."""

import ctypes
import errno
import functools
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from preheat.errors import IntegrityError, LibraryError, NoSpace
from preheat.library.journal import Journal, boot_id
from preheat.library.ranges import Range, gaps, merge, without
from preheat.library.tide import SMALL, Tide
from preheat.library.watcher import Watcher
from preheat.pipe import Pipe
from preheat.snapshot import File

_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


class Partial:
    """The bytes of one file so far; `descriptor` is of the file at `path`, already taken from other processes.

    Safe for threads, as long as no two write the same byte. Hundreds of them write at once, so that is done without a
    lock: a list's append is one step, and so is a write to a file that is only appended to. A file of up to a mebibyte
    keeps no journal: that would cost more than fetching it again.
    """

    def __init__(self, path: Path, file: File, descriptor: int, watcher: Watcher | None = None) -> None:
        self.file = file
        self._watcher = watcher
        self._path = path
        self._descriptor = descriptor
        self._turn = threading.Lock()
        self._closed = False
        self._journal: Journal | None = None
        try:
            if file.size > SMALL:
                self._journal = self._take_up()
            elif os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, 0)
        except OSError as error:
            raise disk_trouble(error, path) from error
        self._here = self._journal.ranges if self._journal is not None else []
        self._tide = Tide(file)
        if watcher is not None:
            watcher.began(path, self._here)

    def _take_up(self) -> Journal:
        """Say what is there of the file; what has another size is begun anew."""
        journal = Journal.read(self._path.with_suffix(".journal"), self.file.size, boot_id())
        if os.fstat(self._descriptor).st_size != self.file.size:
            journal.remove()
            journal = Journal.read(journal.path, self.file.size, boot_id())
            _allocate(self._descriptor, self.file.size)
        return journal

    @property
    def wanted(self) -> int | None:
        """The byte that somebody waits for, if anybody does."""
        return self._watcher.wanted() if self._watcher is not None else None

    @property
    def ranges(self) -> list[Range]:
        """The bytes that are here."""
        with self._turn:
            known = len(self._here)
            merged = merge(self._here[:known])
            self._here[:known] = merged  # what others append meanwhile stays behind it
            return merged

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
            at = start
            while at < stop:
                at += os.pwrite(self._descriptor, data[at - start :], at)
            self._wrote(Range(start, stop))
        except OSError as error:
            raise disk_trouble(error, self._path) from error

    def write_from(self, pipe: Pipe, start: int, count: int) -> None:
        """Do the same with bytes that a pipe holds."""
        try:
            pipe.let_out(self._descriptor, start, count)
            self._wrote(Range(start, start + count))
        except OSError as error:
            raise disk_trouble(error, self._path) from error

    def _wrote(self, part: Range) -> None:
        self._here.append(part)
        if self._watcher is not None:
            self._watcher.wrote(part)  # before the journal, whose first line goes to disk
        if self._journal is not None and not self._closed:
            self._journal.wrote(part)

    def push(self, part: Range) -> None:
        """Have the kernel begin to put a part on disk now, instead of when the file is sealed."""
        if self._journal is not None:
            _begin_writeback(self._descriptor, part)

    def sync(self) -> None:
        """Put what arrived on disk, and say in the journal that it is there."""
        if self._journal is None or self._closed:
            return
        try:
            tide, ranges = self._tide, self._journal.undurable()
            os.fdatasync(self._descriptor)
            with self._turn:
                if not self._closed and self._tide is tide:  # else some of them were found wrong meanwhile
                    self._journal.synced(ranges)
        except OSError as error:
            raise disk_trouble(error, self._path) from error

    def follow(self) -> None:
        """Hash on, up to the first gap, unless another thread is at it: the end is then not far from sealed."""
        if self.file.size > SMALL and not self._closed:
            missing = self.gaps
            self._tide.rise(self._descriptor, missing[0].start if missing else self.file.size)

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
            os.fsync(self._descriptor)
            # At the very end: as long as it is a partial, others have to be able to find out who has it.
            os.fchmod(self._descriptor, 0o444)
        except OSError as error:
            raise disk_trouble(error, self._path) from error
        return digests

    def forget(self, wrong: Iterable[Range]) -> None:
        """Take bytes for missing again."""
        with self._turn:
            self._here = without(merge(self._here), merge(wrong))
            if self._journal is not None:
                self._journal.only(self._here)
            self._tide = Tide(self.file)
            if self._watcher is not None:
                self._watcher.forgot(list(self._here))

    def publish(self, at: str) -> None:
        """Give the sealed bytes their name."""
        self._path.rename(at)
        self._let_go(forget=True)

    def discard(self) -> None:
        """Throw all of it away."""
        self._path.unlink(missing_ok=True)
        self._let_go(forget=True)

    def close(self) -> None:
        """Let go; what arrived stays, to go on from."""
        self._let_go(forget=False)

    def _let_go(self, *, forget: bool) -> None:
        """Give the file back, whoever of this process may still be writing to it, and last the lock that it is."""
        with self._turn:
            was_open, self._closed = not self._closed, True
        if not was_open:
            return
        if self._journal is not None:
            (self._journal.remove if forget else self._journal.close)()
        # Its number must not be given to another file while a thread may still use it: from here on it leads nowhere,
        # and is closed with this object, which every such thread holds.
        os.dup2(_nowhere(), self._descriptor, inheritable=False)

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)


@functools.cache
def _nowhere() -> int:
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


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
