"""Warm-up thread: read the files that an app will read, in the app's order, while it starts."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Callable, Deque, Iterable, Iterator, NamedTuple

from preheat.guard.kernel.free_memory import free_memory
from preheat.guard.warm_up.warmed_file import FileRange, OpenFile

_CHUNK = 4 * 1024 * 1024
_AHEAD = 8 * _CHUNK
_MOST_AHEAD = 64
_MARGIN = 128 * 1024 * 1024
_ASK_EVERY = 64 * 1024 * 1024


class _Chunk(NamedTuple):
    file: OpenFile
    at: int
    size: int


class WarmUp:
    """Read file ranges into the page cache from a background thread.

    Chunks that are already cached are only checked, not read. Reading stops when free memory runs low: `room` returns
    the free bytes and is called every 64 MB read or found. `ranges` is consumed by the thread. `read` and `found` count
    the bytes read from disk and the bytes that were already cached; `why` is the reason for an early end, or empty.
    """

    def __init__(self, ranges: Iterable[FileRange], room: Callable[[], int] = free_memory) -> None:
        self.read = 0
        self.found = 0
        self.seconds = 0.0
        self.why = ""
        self._ranges = ranges
        self._room = room
        self._closed = threading.Event()
        self._asked_at = 0
        self._buffer = bytearray(_CHUNK)
        # Disks and network filesystems are faster with many requests in flight, across files too.
        self._asked: Deque[_Chunk] = deque()
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
                self._warm()
        finally:
            for chunk in self._asked:
                chunk.file.done()
            self.seconds = time.monotonic() - began

    def _warm(self) -> None:
        ahead = 0
        for chunk in self._cold():
            self._asked.append(chunk)
            ahead += chunk.size
            while ahead > _AHEAD or len(self._asked) > _MOST_AHEAD:
                ahead -= self._asked[0].size
                if not self._take():
                    return
        while self._asked and not self.why:
            if not self._take():
                return

    def _cold(self) -> Iterator[_Chunk]:
        """Yield the chunks that are not cached, after requesting their read-ahead."""
        for one in self._ranges:
            if self._closed.is_set():
                return
            try:
                file = OpenFile(one)
            except (OSError, ValueError):
                continue  # the list may be older than the app: skip files that no longer exist
            try:
                stop = min(one.stop or file.size, file.size)
                for at in range(one.start, stop, _CHUNK):
                    if self._closed.is_set():
                        return
                    size = min(_CHUNK, stop - at)
                    # Check each chunk before requesting it, or all would appear cached.
                    if file.ask_for(at, size):
                        # Looking can fill the page cache too: of a hole in a file, or on a fast disk.
                        self.found += size
                        if self._is_short():
                            return
                    else:
                        file.users += 1
                        yield _Chunk(file, at, size)
            except OSError:
                continue
            finally:
                file.done()

    def _take(self) -> bool:
        """Wait until the oldest requested chunk has been read; return whether to continue with the next."""
        if self._closed.is_set():
            return False
        chunk = self._asked.popleft()
        try:
            self.read += chunk.file.read(self._buffer, chunk.at, chunk.size)
        except OSError:
            pass
        finally:
            chunk.file.done()
        return not self._is_short()

    def _is_short(self) -> bool:
        """Return whether memory has run short, asked every 64 MB."""
        return self.read + self.found - self._asked_at >= _ASK_EVERY and not self._enough()

    def _enough(self) -> bool:
        self._asked_at = self.read + self.found
        if self._room() < _MARGIN + _ASK_EVERY + _AHEAD:
            self.why = "not enough free memory"
            return False
        return True
