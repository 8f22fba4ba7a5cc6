"""File queue: files that no thread has started, largest first."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from preheat.core.snapshot import File


class Queue:
    """The files that are not started yet. A file that another process is downloading is put back, and tried later."""

    def __init__(self, files: Iterable[File], look_again_s: float) -> None:
        self._files = deque(files)
        self._look_again_s = look_again_s
        self._not_before: dict[File, float] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[File]:
        return iter(self._files)

    def has(self, now: float, askable: Callable[[File], bool]) -> bool:
        """Whether there is a file to start now."""
        return any(self._due(file, now) and askable(file) for file in self._files)

    def pop(self, now: float, askable: Callable[[File], bool]) -> File | None:
        """Remove and return the first file to start now, or None."""
        for at, file in enumerate(self._files):
            if self._due(file, now) and askable(file):
                del self._files[at]
                return file
        return None

    def put_back(self, file: File, now: float) -> None:
        """Append a file, due after `look_again_s` seconds."""
        self._not_before[file] = now + self._look_again_s
        self._files.append(file)

    def _due(self, file: File, now: float) -> bool:
        return not self._not_before or now >= self._not_before.get(file, 0.0)
