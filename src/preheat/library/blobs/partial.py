"""Partial: an incomplete blob, and the byte ranges that it has."""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from preheat.core.errors import Busy, IntegrityError, LibraryError, NoSpace
from preheat.core.snapshot import File
from preheat.disk.splice import Pipe
from preheat.library.blobs.journal import Journal, boot_id
from preheat.library.blobs.partial_listener import Watcher
from preheat.library.blobs.ranges import ByteRange, gaps, merge, without
from preheat.library.blobs.running_hash import SMALL, Tide
from preheat.library.blobs.shared_descriptor import Closed, SharedDescriptor

_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


class Partial:
    """The bytes of one file so far; `descriptor` is of the file at `path`, already locked against other processes.

    Safe for threads, as long as no two write the same byte. Hundreds of them write at once, so that is done without a
    lock: a list's append is one step, and so is a write to a file that is only appended to. `_turn` guards the merging
    of `_here`, `_tide`, and what becomes of the journal; it is taken before a journal's own lock. A file of up to a
    mebibyte keeps no journal: that would cost more than fetching it again.

    After `close`, `publish` or `discard`, writes are dropped and `seal` raises Busy. The lock on the file ends when the
    last thread that was still using it has finished.
    """

    def __init__(self, path: Path, file: File, descriptor: int, watcher: Watcher | None = None) -> None:
        self.file = file
        self._watcher = watcher
        self._path = path
        self._descriptor = SharedDescriptor(descriptor)
        self._turn = threading.Lock()
        self._journal: Journal | None = None
        try:
            if file.size > SMALL:
                self._journal = self._take_up(descriptor)
            elif os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, 0)
        except OSError as error:
            self._descriptor.close()
            raise disk_trouble(error, path) from error
        self._here = self._journal.ranges if self._journal is not None else []
        self._tide = Tide(file)
        if watcher is not None:
            watcher.began(path, self._here)

    def _take_up(self, descriptor: int) -> Journal:
        """Say what is there of the file; what has another size is begun anew."""
        journal = Journal.read(self._path.with_suffix(".journal"), self.file.size, boot_id())
        if os.fstat(descriptor).st_size != self.file.size:
            journal.remove()
            journal = Journal.read(journal.path, self.file.size, boot_id())
            _allocate(descriptor, self.file.size)
        return journal

    @property
    def wanted(self) -> int | None:
        """The byte that somebody waits for, if anybody does."""
        return self._watcher.wanted() if self._watcher is not None else None

    @property
    def ranges(self) -> list[ByteRange]:
        """The bytes that are here."""
        with self._turn:
            known = len(self._here)
            merged = merge(self._here[:known])
            self._here[:known] = merged  # what others append meanwhile stays behind it
            return merged

    @property
    def gaps(self) -> list[ByteRange]:
        """The bytes that are missing."""
        return gaps(self.file.size, self.ranges)

    def write(self, start: int, data: memoryview) -> None:
        """Keep bytes that belong at `start`; once closed, drop them.

        Raise NoSpace or LibraryError if the disk will not have them.
        """
        stop = start + len(data)
        with contextlib.suppress(Closed), disk(self._path), self._descriptor as descriptor:
            at = start
            while at < stop:
                at += os.pwrite(descriptor, data[at - start :], at)
            self._wrote(ByteRange(start, stop))

    def write_from(self, pipe: Pipe, start: int, count: int) -> None:
        """Do the same with bytes that a pipe holds."""
        with contextlib.suppress(Closed), disk(self._path), self._descriptor as descriptor:
            pipe.let_out(descriptor, start, count)
            self._wrote(ByteRange(start, start + count))

    def _wrote(self, part: ByteRange) -> None:
        self._here.append(part)
        if self._watcher is not None:
            self._watcher.wrote(part)  # before the journal, whose first line goes to disk
        if self._journal is not None:
            self._journal.wrote(part)

    def push(self, part: ByteRange) -> None:
        """Have the kernel begin to put a part on disk now, instead of when the file is sealed."""
        if self._journal is not None:
            with contextlib.suppress(Closed), self._descriptor as descriptor:
                _begin_writeback(descriptor, part)

    def sync(self) -> None:
        """Put what arrived on disk, and say in the journal that it is there."""
        if self._journal is None:
            return
        with contextlib.suppress(Closed), disk(self._path), self._descriptor as descriptor:
            tide, ranges = self._tide, self._journal.undurable()
            os.fdatasync(descriptor)
            with self._turn:
                if self._tide is tide:  # else some of them were found wrong meanwhile
                    self._journal.synced(ranges)
            self._journal.flush()

    def follow(self) -> None:
        """Hash on, up to the first gap, unless another thread is at it: the end is then not far from sealed."""
        if self.file.size > SMALL:
            with contextlib.suppress(Closed), disk(self._path), self._descriptor as descriptor:
                missing = self.gaps
                self._tide.rise(descriptor, missing[0].start if missing else self.file.size)

    def seal(self) -> dict[str, str]:
        """Verify the whole file and put it on disk; return its digests, hexadecimal by algorithm.

        Raise IntegrityError if it is not what was asked for; it is then as it was, and has no name. Raise Busy if it
        was closed before: it then belongs to whoever opens it next.
        """
        with self.held() as descriptor, disk(self._path):
            digests = self._tide.finish(descriptor)
            expected = self.file.digest
            if digests[expected.algorithm] != expected.hex:
                raise IntegrityError(
                    f"{self.file.path} arrived as {expected.algorithm}:{digests[expected.algorithm]}, not {expected}",
                    hint="its bytes were thrown away; pull again, or from another --endpoint",
                )
            os.fsync(descriptor)
            # At the very end: as long as it is a partial, others have to be able to find out who has it.
            os.fchmod(descriptor, 0o444)
        return digests

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """Keep the file open and locked until the block ends, even if another thread closes it meanwhile.

        Raise Busy if it was closed before.
        """
        try:
            number = self._descriptor.__enter__()
        except Closed:
            raise Busy(f"{self.file.path} was given up before it could be verified", hint="pull again") from None
        try:
            yield number
        finally:
            self._descriptor.__exit__()

    def forget(self, wrong: Iterable[ByteRange]) -> None:
        """Take bytes for missing again."""
        with disk(self._path), self._turn:
            self._here = without(merge(self._here), merge(wrong))
            if self._journal is not None:
                self._journal.only(self._here)
            self._tide = Tide(self.file)
            here = list(self._here)
        if self._watcher is not None:
            self._watcher.forgot(here)

    def publish(self, at: str) -> None:
        """Give the sealed bytes their name; the caller keeps it held since it sealed them."""
        self._path.rename(at)
        if self._journal is not None:
            self._journal.remove()
        self._descriptor.close()

    def discard(self) -> None:
        """Throw all of it away; once closed, nothing: the file may be another process's by now."""
        with contextlib.suppress(Closed), disk(self._path), self._descriptor:
            self._path.unlink(missing_ok=True)
            if self._journal is not None:
                self._journal.remove()
            self._descriptor.close()

    def close(self) -> None:
        """Let go; what arrived stays, to resume from."""
        if self._journal is not None:
            self._journal.close()
        self._descriptor.close()


def _allocate(descriptor: int, size: int) -> None:
    """Make the file `size` bytes long, with room on disk for all of it where the filesystem can promise that."""
    # fallocate(2) and not posix_fallocate(3), which on a filesystem that cannot would write every block.
    if size > SMALL and hasattr(_libc, "fallocate"):
        outcome = _libc.fallocate(descriptor, 0, ctypes.c_longlong(0), ctypes.c_longlong(size))
        trouble = ctypes.get_errno()
        if outcome != 0 and trouble in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(trouble, os.strerror(trouble))
    os.ftruncate(descriptor, size)


def _begin_writeback(descriptor: int, part: ByteRange) -> None:
    """Ask for writeback and do not wait for it; where nobody can be asked, the last fsync does all of it."""
    if hasattr(_libc, "sync_file_range"):
        start, size = ctypes.c_longlong(part.start), ctypes.c_longlong(part.stop - part.start)
        _libc.sync_file_range(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)


@contextlib.contextmanager
def disk(path: Path) -> Iterator[None]:
    """Convert an OSError of the block to LibraryError, or NoSpace, about `path`."""
    try:
        yield
    except OSError as error:
        raise disk_trouble(error, path) from error


def disk_trouble(error: OSError, path: Path) -> LibraryError:
    """Convert an OSError about `path`, or about the path that the error itself names."""
    named = error.filename2 or error.filename
    at = os.fsdecode(named) if isinstance(named, str | bytes) else path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left for {at}", hint="free some, or choose another place with --library")
    why = (error.strerror or os.strerror(error.errno or 0)).lower()
    return LibraryError(f"{at}: {why}", hint="check the library's disk and owner")
