"""Receive budget: limit the bytes of request bodies that all connections together hold in memory."""

import contextlib
import threading
from collections.abc import Iterator

_SMALL = 65_536  # each connection may hold this much in any case


class Budget:
    """Allow `most` bytes at a time; requests of up to 64 KiB are not counted. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._turn = threading.Lock()

    @contextlib.contextmanager
    def taking(self, size: int) -> Iterator[bool]:
        """Reserve `size` bytes for the block; yield whether there was room, without waiting."""
        size = size if size > _SMALL else 0
        with self._turn:
            room = size <= self._left
            self._left -= size if room else 0
        try:
            yield room
        finally:
            with self._turn:
                self._left += size if room else 0
