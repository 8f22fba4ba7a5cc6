"""Shared descriptor: an open file that several threads use, closed when the last of them has finished."""

import os
import threading


class Closed(Exception):
    """The descriptor was closed before it could be used."""


class SharedDescriptor:
    """A file descriptor with a count of its users. Safe for threads.

    Use it with `with descriptor as number:`; inside, `number` refers to this file, whatever other threads do. After
    `close`, entering raises Closed, and the last user closes the file. A number that is closed while a thread uses it
    may be given to another file, and the thread would then write there.
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
        """Whether `close` was called; users from before may still be at work."""
        return self._closing

    def close(self) -> None:
        """Let nobody use it from now on; return at once. Closing it twice does nothing."""
        with self._turn:
            was_open, self._closing = not self._closing, True
            is_unused = was_open and not self._users
        if is_unused:
            os.close(self._number)

    def __del__(self) -> None:
        self.close()
