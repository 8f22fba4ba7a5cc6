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
    """Bytes of a file from `start` to before `stop`; `stop` 0 is its end."""

    path: str
    start: int = 0
    stop: int = 0


def read_ranges(lines: Iterable[str]) -> List[FileRange]:
    """Read a list of files, one a line, in the order in which they are wanted: `PATH` or `PATH TAB START TAB STOP`."""
    ranges = []
    for line in lines:
        path, _, rest = line.rstrip("\n").partition("\t")
        start, _, stop = rest.partition("\t")
        if path and not path.startswith("#"):
            ranges.append(FileRange(path, int(start or 0), int(stop or 0)))
    return ranges


class WarmUp:
    """Read from a thread of its own. What is in the page cache already costs one look a chunk.

    It takes no more than is free: `room` is asked every 64 MB, and what it says, less a margin, is never gone over.
    `read` and `found` count the bytes that came from disk and those that were here; `why` says why it ended early.
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
        """Read no more; returns at once."""
        self._closed.set()

    def wait(self, within_s: float | None = None) -> bool:
        """Wait until it is done; whether it is."""
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
        """Bring one range in; whether to go on."""
        try:
            file = os.open(one.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return True  # the list is older than the app: what is gone is not wanted any more
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
            # The kernel is asked for the next ones while this one is read: disks and network filesystems want many
            # requests at once. Looked at before they are asked for, or all would seem to have been here.
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
        """Read a chunk to its end, or to the file's; return how much there was."""
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
            self.why = "no memory is left that nobody uses"
            return False
        return True


def _chunks(start: int, stop: int) -> List[tuple[int, int]]:
    return [(at, min(_CHUNK, stop - at)) for at in range(start, stop, _CHUNK)]


def _ask_for(file: int, at: int, size: int) -> bool:
    """Whether a chunk is in the page cache, by a look at some places of it; when not, ask the kernel for it.

    A look at a byte that is not there has the kernel read the pages around it, and a fast disk may have brought them by
    the time that it answers. On a busy machine three such looks now and then all said that a cold chunk was there.
    """
    if all(_cached(file, at + (size - 1) * number // (_LOOKS - 1)) for number in range(_LOOKS)):
        return True
    with suppress(OSError):
        os.posix_fadvise(file, at, size, os.POSIX_FADV_WILLNEED)
    return False


def _cached(file: int, at: int) -> bool:
    """Whether the byte at `at` can be had without waiting for a disk; False where the kernel cannot tell."""
    try:
        return os.preadv(file, [bytearray(1)], at, os.RWF_NOWAIT) == 1
    except OSError as error:
        return error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
    except AttributeError:
        return False
