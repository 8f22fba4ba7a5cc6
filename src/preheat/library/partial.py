"""Partial: a blob on its way in, that remembers which bytes it has."""

import errno
import os
import threading
import time
from pathlib import Path

from preheat.digest import Hasher, hasher
from preheat.errors import IntegrityError, LibraryError, NoSpace
from preheat.library.journal import Journal, boot_id
from preheat.library.lock import Lock
from preheat.library.ranges import Range, gaps
from preheat.snapshot import File

# A file up to this size is written in one go: a journal would cost more than fetching it again.
_NO_JOURNAL_UP_TO = 1 << 20
_SYNC_EVERY_S = 5.0
_HASH_STEP = 1 << 20


class Partial:
    """The bytes of one file so far. Safe for threads; `lock`, already taken, keeps other processes out."""

    def __init__(self, path: Path, file: File, lock: Lock) -> None:
        self.file = file
        self._path = path
        self._file_lock = lock
        self._journal = Journal.read(path.with_suffix(".journal"), file.size, boot_id())
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if os.fstat(self._descriptor).st_size != file.size:
                self._journal.remove()
                self._journal = Journal.read(path.with_suffix(".journal"), file.size, boot_id())
                os.ftruncate(self._descriptor, file.size)
        except OSError as error:
            raise disk_trouble(error, path) from error
        self._turn = threading.Lock()
        self._synced_at = time.monotonic()
        self._here = self._journal.ranges
        self._tide = _Tide(file)

    @property
    def gaps(self) -> list[Range]:
        """The bytes that are missing."""
        with self._turn:
            return gaps(self.file.size, self._here)

    def write(self, start: int, data: memoryview) -> None:
        """Keep bytes that belong at `start`. Raise NoSpace or LibraryError if the disk will not."""
        stop = start + len(data)
        try:
            at = start
            while at < stop:
                at += os.pwrite(self._descriptor, data[at - start :], at)
            with self._turn:
                self._here.append(Range(start, stop))
                if self.file.size > _NO_JOURNAL_UP_TO:
                    self._journal.wrote(Range(start, stop))
                    self._sync_now_and_then()
        except OSError as error:
            raise disk_trouble(error, self._path) from error

    def follow(self) -> None:
        """Hash on, up to the first gap, unless another thread is at it: the end is then not far from sealed."""
        missing = self.gaps
        self._tide.rise(self._descriptor, missing[0].start if missing else self.file.size)

    def seal(self) -> dict[str, str]:
        """Verify the whole file and put it on disk; return its digests, hexadecimal by algorithm.

        What fails is thrown away, and IntegrityError raised: nothing unverified ever has a name.
        """
        digests = self._tide.finish(self._descriptor)
        expected = self.file.digest
        if digests[expected.algorithm] != expected.hex:
            self.discard()
            raise IntegrityError(
                f"{self.file.path} arrived as {expected.algorithm}:{digests[expected.algorithm]}, not {expected}",
                hint="its bytes were thrown away; pull again, or from another --endpoint",
            )
        try:
            os.fchmod(self._descriptor, 0o444)
            os.fsync(self._descriptor)
        except OSError as error:
            raise disk_trouble(error, self._path) from error
        return digests

    def publish(self, at: Path) -> None:
        """Give the sealed bytes their name."""
        self._path.rename(at)
        self._journal.remove()
        self._file_lock.forget()
        self.close()

    def discard(self) -> None:
        """Throw all of it away."""
        self._journal.remove()
        self._path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go; what arrived stays, to go on from."""
        with self._turn:
            self._journal.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1
                self._file_lock.release()

    def _sync_now_and_then(self) -> None:
        if time.monotonic() - self._synced_at < _SYNC_EVERY_S:
            return
        ranges = self._journal.undurable()
        os.fdatasync(self._descriptor)
        self._journal.synced(ranges)
        self._synced_at = time.monotonic()


class _Tide:
    """The hash of a file's front, following the bytes as they arrive in no order."""

    def __init__(self, file: File) -> None:
        self._size = file.size
        # Small files are known by both names, so that a hub that tells the other one finds them too.
        both = file.size <= _NO_JOURNAL_UP_TO
        algorithms = {"sha256", "git-sha1"} if both else {file.digest.algorithm, "sha256"}
        self._hashers: dict[str, Hasher] = {algorithm: hasher(algorithm, file.size) for algorithm in algorithms}
        self._at = 0
        self._turn = threading.Lock()

    def rise(self, descriptor: int, stop: int) -> None:
        """Hash up to `stop`, if nobody else is hashing."""
        if self._turn.acquire(blocking=False):
            try:
                self._rise(descriptor, stop)
            finally:
                self._turn.release()

    def finish(self, descriptor: int) -> dict[str, str]:
        """Hash to the end and say the digests."""
        with self._turn:
            self._rise(descriptor, self._size)
            return {algorithm: hasher.hexdigest() for algorithm, hasher in self._hashers.items()}

    def _rise(self, descriptor: int, stop: int) -> None:
        buffer = memoryview(bytearray(min(_HASH_STEP, max(stop - self._at, 0))))
        while self._at < stop:
            count = os.preadv(descriptor, [buffer[: stop - self._at]], self._at)
            if count == 0:
                break
            for one in self._hashers.values():
                one.update(buffer[:count])
            self._at += count


def disk_trouble(error: OSError, path: Path) -> LibraryError:
    """Say in our words what the disk said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left for {path}", hint="free some, or choose another place with --library")
    return LibraryError(f"{path}: {os.strerror(error.errno or 0).lower()}", hint="check the library's disk and owner")
