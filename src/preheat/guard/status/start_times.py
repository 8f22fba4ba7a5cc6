"""Start times: store the durations of the last starts in a small file."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Tuple

_MOST = 10


class History:
    """The durations of the last ten starts, in seconds, in memory and in the file `path`; I/O errors are ignored."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self.earlier_s: Tuple[float, ...] = ()
        if path:
            with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
                self.earlier_s = tuple(float(line) for line in file)[-_MOST:]

    def add(self, seconds: float) -> None:
        """Add the duration of a start and save the file."""
        self.earlier_s = (*self.earlier_s, seconds)[-_MOST:]
        if self._path:
            with suppress(OSError):
                os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
                folder, name = os.path.split(self._path)
                aside = os.path.join(folder, f".{name}.new")  # a fixed name: killed guards leave at most one such file
                with open(aside, "w", encoding="ascii") as file:
                    file.writelines(f"{seconds:.3f}\n" for seconds in self.earlier_s)
                os.replace(aside, self._path)
