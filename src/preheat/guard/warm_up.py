"""Warm-up: read the files that an app will read into the page cache, in the app's order, while it starts."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable, Iterable, List, Sequence

from preheat.guard.kernel.free_memory import free_memory

_CHUNK = 4 * 1024 * 1024
_AHEAD = 8
_LOOKS = 16
_MARGIN = 128 * 1024 * 1024
_ASK_EVERY = 64 * 1024 * 1024


@dataclass(frozen=True)
class FileRange:
    """The bytes of a file from `start` up to but excluding `stop`; `stop` 0 means the end of the file."""

    path: str
    start: int = 0
    stop: int = 0


def read_ranges(lines: Iterable[str]) -> List[FileRange]:
    """Parse file ranges, one per line: `PATH` or `PATH TAB START TAB STOP`, in the order to read them.

    Empty lines and lines that start with `#` are skipped.
    """
    ranges = []
    for line in lines:
        path, _, rest = line.rstrip("\n").partition("\t")
        start, _, stop = rest.partition("\t")
        if path and not path.startswith("#"):
            ranges.append(FileRange(path, int(start or 0), int(stop or 0)))
    return ranges


class WarmUp:
    """Read file ranges into the page cache from a background thread.

    Chunks that are already cached are only checked, not read. Reading stops when free memory runs low: `room` returns
    the free bytes and is called every 64 MB. `read` and `found` count the bytes read from disk and the bytes that were
    already cached; `why` is the reason for an early end, or empty.
    """

    def __init__(self, ranges: Sequence[FileRange], room: Callable[[], int] = free_memory) -> None:
        self.read = 0
        self.found = 0
        self.seconds = 0.0
        self.why = ""
        self._ranges = ranges
        self._room = room
        self._closed = threading.Event()
        self._asked_at = 0
        self._buffer = bytearray(_CHUNK)
        self._thread = threading.Thread(target=self._work, name="warm-up", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask the thread to stop, without waiting for it."""
        self._closed.set()

    def wait(self, within_s: float | None = None) -> bool:
        """Wait for the thread to finish, at most `within_s` seconds; return whether it has finished."""
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        began = time.monotonic()
        try:
            if self._enough():
                for one in self._ranges:
                    if not self._warm(one):
                        return
        finally:
            self.seconds = time.monotonic() - began

    def _warm(self, one: FileRange) -> bool:
        """Warm one range; return whether to continue with the next."""
        try:
            file = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True  # the list may be older than the app: skip files that no longer exist
        try:
            size = os.fstat(file).st_size
            return self._take(file, _chunks(one.start, min(one.stop or size, size)))
        except OSError:
            return True
        finally:
            os.close(file)

    def _take(self, file: int, chunks: Sequence[tuple[int, int]]) -> bool:
        here: List[bool] = []
        for number, (at, size) in enumerate(chunks):
            if self._closed.is_set():
                return False
            # Request read-ahead of the next chunks while reading this one: disks and network filesystems are faster
            # with many requests in flight. Check each chunk before requesting it, or all would appear cached.
            while len(here) < min(number + 1 + _AHEAD, len(chunks)):
                here.append(_ask_for(file, *chunks[len(here)]))
            if here[number]:
                self.found += size
                continue
            self.read += self._fill(file, at, size)
            if self.read - self._asked_at >= _ASK_EVERY and not self._enough():
                return False
        return True

    def _fill(self, file: int, at: int, size: int) -> int:
        """Read a chunk, up to the end of the file; return the number of bytes read."""
        done = 0
        while done < size:
            count = os.preadv(file, [memoryview(self._buffer)[done:size]], at + done)
            if not count:
                break
            done += count
        return done

    def _enough(self) -> bool:
        self._asked_at = self.read
        if self._room() < _MARGIN + _ASK_EVERY + _AHEAD * _CHUNK:
            self.why = "not enough free memory"
            return False
        return True


def _chunks(start: int, stop: int) -> List[tuple[int, int]]:
    return [(at, min(_CHUNK, stop - at)) for at in range(start, stop, _CHUNK)]


def _ask_for(file: int, at: int, size: int) -> bool:
    """Return whether a chunk is in the page cache, sampled at 16 offsets; if not, start read-ahead of the chunk.

    Sampling an uncached byte makes the kernel read the pages around it, and a fast disk may deliver them before the
    call returns. With only three samples, a cold chunk sometimes appeared cached on a busy machine.
    """
    if all(_cached(file, at + (size - 1) * number // (_LOOKS - 1)) for number in range(_LOOKS)):
        return True
    with suppress(OSError):
        os.posix_fadvise(file, at, size, os.POSIX_FADV_WILLNEED)
    return False


def _cached(file: int, at: int) -> bool:
    """Return whether the byte at `at` is in the page cache; False where the kernel cannot report it."""
    try:
        return os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT) == 1
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
    except AttributeError:
        return False
