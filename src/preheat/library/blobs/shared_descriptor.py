"""Shared descriptor: a reference-counted file descriptor, closed after its last user."""

import os
import threading


class Closed(Exception):
    """The descriptor was closed before it could be used."""


class SharedDescriptor:
    """A file descriptor with a count of its users. Thread-safe.

    Use it as `with descriptor as number:`; inside the block, the file stays open even if another thread calls `close`.
    After `close`, entering raises Closed, and the last user closes the file. Without the count, the kernel could reuse
    a closed number for another file, and a thread would write to that file.
    """

    def __init__(self, number: int) -> None:
        """Take ownership of an open file descriptor."""
        self._number = number
        self._users = 0  # guarded by _turn, as is _closing
        self._closing = False
        self._turn = threading.Lock()

    def __enter__(self) -> int:
        with self._turn:
            if self._closing:
                raise Closed
            self._users += 1
        return self._number

    def __exit__(self, *exception: object) -> None:
        with self._turn:
            self._users -= 1
            is_last = self._closing and not self._users
        if is_last:
            os.close(self._number)

    @property
    def closed(self) -> bool:
        """Return whether `close` was called; threads that entered before may still use the file."""
        return self._closing

    def close(self) -> None:
        """Close the file after its last user, and refuse new users. Does not wait; may be called twice."""
        with self._turn:
            was_open, self._closing = not self._closing, True
            is_unused = was_open and not self._users
        if is_unused:
            os.close(self._number)

    def __del__(self) -> None:
        self.close()
