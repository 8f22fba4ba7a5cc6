"""Partial: an incomplete blob, and the byte ranges written so far."""

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from preheat.core.errors import Busy, IntegrityError
from preheat.core.snapshot import File
from preheat.library.blobs.blobs import SMALL
from preheat.library.blobs.disk_errors import disk, disk_trouble
from preheat.library.blobs.journal import Journal, boot_id
from preheat.library.blobs.partial_listener import Watcher
from preheat.library.blobs.ranges import ByteRange, gaps, merge, without
from preheat.library.blobs.running_hash import RunningHash
from preheat.library.blobs.shared_descriptor import Closed, SharedDescriptor

BLOB_MODE = 0o444  # no app may write to a blob, whose bytes other apps and the library use
_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h


class Partial:
    """A partially downloaded file; `descriptor` is the open file at `path`, already locked against other processes.

    Thread-safe, as long as no two threads write the same byte. Writes take no lock, because hundreds of threads write
    at once: appending to a list and to an O_APPEND file are atomic. `_turn` guards merging `_written`, replacing
    `_hash`, and changes to the journal; it is acquired before the journal's own lock. A file of up to 1 MiB has no
    journal: downloading it again costs less.

    After `close`, `publish` or `discard`, writes are dropped and `seal` raises Busy. The file lock is released when the
    last thread that uses the file has finished.
    """

    def __init__(self, path: str, file: File, descriptor: int, watcher: Watcher | None = None) -> None:
        self.file = file
        self._watcher = watcher
        self._path = path  # a string: for thousands of files, a Path takes longer than the rest of this method
        self._descriptor = SharedDescriptor(descriptor)
        self._turn = threading.Lock()
        self._journal: Journal | None = None
        try:
            if file.size > SMALL:
                self._journal = self._open_journal(descriptor)
            elif os.fstat(descriptor).st_size:
                os.ftruncate(descriptor, 0)
        except OSError as error:
            self._descriptor.close()
            raise disk_trouble(error, path) from error
        self._written = self._journal.ranges if self._journal is not None else []
        self._hash = RunningHash(file)
        if watcher is not None:
            watcher.began(Path(path), self._written)

    def _open_journal(self, descriptor: int) -> Journal:
        """Open the journal; empty it if the file on disk does not have the blob's size."""
        journal = Journal.read(Path(self._path).with_suffix(".journal"), self.file.size, boot_id())
        if os.fstat(descriptor).st_size != self.file.size:
            journal.remove()
            journal = Journal.read(journal.path, self.file.size, boot_id())
            _allocate(descriptor, self.file.size)
        return journal

    @property
    def wanted(self) -> int | None:
        """Return the offset that a reader is waiting for, or None."""
        return self._watcher.wanted() if self._watcher is not None else None

    @property
    def ranges(self) -> list[ByteRange]:
        """Return the ranges written so far."""
        with self._turn:
            known = len(self._written)
            merged = merge(self._written[:known])
            self._written[:known] = merged  # keeps ranges that other threads have appended since
            return merged

    @property
    def gaps(self) -> list[ByteRange]:
        """Return the missing ranges."""
        return gaps(self.file.size, self.ranges)

    def write(self, start: int, data: memoryview) -> None:
        """Write `data` at offset `start`; do nothing once closed.

        Raise NoSpace if the disk is full, and LibraryError for other disk errors.
        """
        stop = start + len(data)
        with contextlib.suppress(Closed), disk(self._path), self._descriptor as descriptor:
            at = start
            while at < stop:
                at += os.pwrite(descriptor, data[at - start :], at)
            self._wrote(ByteRange(start, stop))
            self._hash.update(start, data)

    def _wrote(self, part: ByteRange) -> None:
        self._written.append(part)
        if self._watcher is not None:
            self._watcher.wrote(part)  # before the journal, because its first entry waits for the disk
        if self._journal is not None:
            self._journal.wrote(part)

    def push(self, part: ByteRange) -> None:
        """Start writeback of a range now, instead of when the file is sealed. Does not wait."""
        if self._journal is not None:
            with contextlib.suppress(Closed), self._descriptor as descriptor:
                _begin_writeback(descriptor, part)

    def sync(self) -> None:
        """Sync the written ranges to disk, and record them in the journal as durable."""
        if self._journal is None:
            return
        with contextlib.suppress(Closed), disk(self._path), self._descriptor as descriptor:
            running, ranges = self._hash, self._journal.undurable()
            os.fdatasync(descriptor)
            with self._turn:
                if self._hash is running:  # otherwise `forget` has dropped some of these ranges since
                    self._journal.synced(ranges)
            self._journal.flush()

    def follow(self) -> None:
        """Hash up to the first gap, unless another thread is hashing, to leave less work for `seal`."""
        if self.file.size > SMALL:
            with contextlib.suppress(Closed), disk(self._path), self._descriptor as descriptor:
                missing = self.gaps
                self._hash.advance(descriptor, missing[0].start if missing else self.file.size)

    def seal(self) -> dict[str, str]:
        """Verify the complete file, sync it to disk and make it read-only; return its hex digests by algorithm.

        Raise IntegrityError if the digest is wrong; the partial is then unchanged. Raise Busy if it was closed: another
        process may have opened it since.
        """
        with self.held() as descriptor, disk(self._path):
            digests = self._hash.finish(descriptor)
            expected = self.file.digest
            if digests[expected.algorithm] != expected.hex:
                raise IntegrityError(
                    f"{self.file.path} arrived as {expected.algorithm}:{digests[expected.algorithm]}, not {expected}",
                    hint="its bytes were thrown away; pull again, or from another --endpoint",
                )
            os.fsync(descriptor)
            # Last, because other processes must be able to open the partial to see that it is locked.
            os.fchmod(descriptor, BLOB_MODE)
        return digests

    @contextlib.contextmanager
    def held(self) -> Iterator[int]:
        """Keep the file open and locked until the block ends, even if another thread closes the partial.

        Raise Busy if it is already closed.
        """
        try:
            number = self._descriptor.__enter__()
        except Closed:
            raise Busy(f"the download of {self.file.path} was cancelled", hint="pull again") from None
        try:
            yield number
        finally:
            self._descriptor.__exit__()

    def forget(self, wrong: Iterable[ByteRange]) -> None:
        """Mark the ranges in `wrong` as missing."""
        with disk(self._path), self._turn:
            self._written = without(merge(self._written), merge(wrong))
            if self._journal is not None:
                self._journal.only(self._written)
            self._hash = RunningHash(self.file)
            here = list(self._written)
        if self._watcher is not None:
            self._watcher.forgot(here)

    def publish(self, at: str) -> None:
        """Rename the sealed file to `at`. Call it inside the same `held` block as `seal`."""
        os.rename(self._path, at)  # noqa: PTH104 - as in `__init__`
        if self._journal is not None:
            self._journal.remove()
        self._descriptor.close()

    def discard(self) -> None:
        """Delete the file and its journal; do nothing once closed, because another process may use the file by now."""
        with contextlib.suppress(Closed), disk(self._path), self._descriptor:
            Path(self._path).unlink(missing_ok=True)
            if self._journal is not None:
                self._journal.remove()
            self._descriptor.close()

    def close(self) -> None:
        """Close the partial and keep its bytes, to resume the download later."""
        if self._journal is not None:
            self._journal.close()
        self._descriptor.close()


def _allocate(descriptor: int, size: int) -> None:
    """Set the file's size, and reserve disk space for it if the filesystem supports that."""
    # Not posix_fallocate(3): without filesystem support, it writes every block.
    if size > SMALL and hasattr(_libc, "fallocate"):
        outcome = _libc.fallocate(descriptor, 0, ctypes.c_longlong(0), ctypes.c_longlong(size))
        trouble = ctypes.get_errno()
        if outcome != 0 and trouble in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(trouble, os.strerror(trouble))
    os.ftruncate(descriptor, size)


def _begin_writeback(descriptor: int, part: ByteRange) -> None:
    """Start writeback without waiting; without sync_file_range(2), leave all of it to the final fsync."""
    if hasattr(_libc, "sync_file_range"):
        start, size = ctypes.c_longlong(part.start), ctypes.c_longlong(part.stop - part.start)
        _libc.sync_file_range(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)
