"""Start times: store the durations of the last starts in a small file."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Tuple

_MOST = 10
_MOST_BYTES = 4096
_LONGEST_S = 1e7


class History:
    """The durations of the last ten starts, in seconds, in memory and in the file `path`; I/O errors are ignored."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self.earlier_s: Tuple[float, ...] = ()
        if path:
            with suppress(OSError, ValueError):
                times = [float(word) for word in _read(path).split()]
                self.earlier_s = tuple(seconds for seconds in times if 0 <= seconds < _LONGEST_S)[-_MOST:]

    def add(self, seconds: float) -> None:
        """Add the duration of a start and save the file."""
        self.earlier_s = (*self.earlier_s, seconds)[-_MOST:]
        if self._path:
            with suppress(OSError):
                os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
                folder, name = os.path.split(self._path)
                aside = os.path.join(folder, f".{name}.new")  # a fixed name: killed guards leave at most one such file
                # In a library that a group shares, another user may have put a symlink there.
                with suppress(FileNotFoundError):
                    os.unlink(aside)
                descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                with open(descriptor, "w", encoding="ascii") as file:
                    file.writelines(f"{seconds:.3f}\n" for seconds in self.earlier_s)
                os.replace(aside, self._path)


def _read(path: str) -> str:
    """Return the start of a small file, without waiting for a FIFO. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES).decode("ascii", "replace")
    finally:
        os.close(descriptor)
