"""Budget: how many bytes all connections together may hold of what clients send."""

import contextlib
import threading
from collections.abc import Iterator

_SMALL = 65_536  # what every connection may hold anyway


class Budget:
    """At most `most` bytes at once; small takings are not counted. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def taking(self, size: int) -> Iterator[bool]:
        """Hold so many bytes meanwhile; give whether there is room, without waiting for it."""
        size = size if size > _SMALL else 0
        with self._turn:
            room = size <= self._left
            self._left -= size if room else 0
        try:
            yield room
        finally:
            with self._turn:
                self._left += size if room else 0
