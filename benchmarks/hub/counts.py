"""Counts: requests and bytes of a hub of several processes, in shared memory."""

import mmap
import multiprocessing
import struct
import time

_FORM = struct.Struct("=QQ")
_RATE = struct.Struct("=d")


class Counts:
    """Requests and bytes of files; each process writes its own slot, so none waits for another."""

    def __init__(self, processes: int) -> None:
        self._memory = mmap.mmap(-1, _FORM.size * processes)
        self._processes = processes

    def add(self, process: int, requests: int, sent: int) -> None:
        """Add to a process's counts; its threads share one lock for that."""
        at = process * _FORM.size
        before_requests, before_sent = _FORM.unpack_from(self._memory, at)
        _FORM.pack_into(self._memory, at, before_requests + requests, before_sent + sent)

    def total(self) -> tuple[int, int]:
        """Return requests and bytes of all processes so far."""
        each = [_FORM.unpack_from(self._memory, n * _FORM.size) for n in range(self._processes)]
        return sum(requests for requests, _ in each), sum(sent for _, sent in each)


class Bucket:
    """A rate limit for all connections together: each sender gets the time of its turn."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._turn = multiprocessing.Lock()
        self._free_at = mmap.mmap(-1, _RATE.size)

    def take(self, size: int) -> None:
        """Return when `size` bytes may go."""
        with self._turn:
            now = time.monotonic()
            # The most unused budget that an idle line keeps.
            free_at = max(now - 0.02, _RATE.unpack(self._free_at[:])[0])
            self._free_at[:] = _RATE.pack(free_at + size / self._rate)
        if free_at > now:
            time.sleep(free_at - now)
