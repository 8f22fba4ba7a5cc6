"""File queue: files that no thread has started, largest first."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from preheat.core.snapshot import File

_SOON_S, _LONGEST_S = 0.02, 0.25  # a small file that another process downloads is complete soon


class Queue:
    """The files that are not started yet. A file that another process is downloading is put back, and tried later."""

    def __init__(self, files: Iterable[File]) -> None:
        self._files = deque(files)
        self._later: list[tuple[float, int, File]] = []  # a heap: when each is due, and how many were put back before
        self._tries: dict[File, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._files) + len(self._later)

    def __iter__(self) -> Iterator[File]:
        yield from self._files
        yield from (file for _, _, file in self._later)

    def has(self, now: float, askable: Callable[[File], bool]) -> bool:
        """Whether there is a file to start now."""
        return any(map(askable, self._files)) or any(askable(file) for due, _, file in self._later if due <= now)

    def pop(self, now: float, askable: Callable[[File], bool]) -> File | None:
        """Remove and return the first file to start now, or None."""
        for at, file in enumerate(self._files):
            if askable(file):
                del self._files[at]
                return file
        others: list[tuple[float, int, File]] = []
        try:
            while self._later and self._later[0][0] <= now:
                others.append(heapq.heappop(self._later))
                if askable(others[-1][2]):
                    return others.pop()[2]
        finally:
            for entry in others:
                heapq.heappush(self._later, entry)
        return None

    def put_back(self, file: File, now: float) -> None:
        """Add a file that is due after 0.02 s, twice as long each further time, and 0.25 s at most."""
        tries = self._tries.get(file, 0)
        self._tries[file] = tries + 1
        self._count += 1
        heapq.heappush(self._later, (now + min(_SOON_S * 2.0**tries, _LONGEST_S), self._count, file))

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next file is due, 0.25 at most."""
        return min(max(self._later[0][0] - now, 0.001), _LONGEST_S) if self._later else _LONGEST_S
