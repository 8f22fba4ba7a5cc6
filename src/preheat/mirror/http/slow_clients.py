"""Slow clients: the rate at which a client receives, by what its machine has acknowledged."""

import array
import contextlib
import fcntl
import socket
import termios
import time
from collections.abc import Iterator

from preheat.mirror.http.limits import ServerLimits

_KNOWN_AFTER_S = 1.0


class TooSlow(TimeoutError):
    """The client took too little for too long."""


class SendRate:
    """Of one connection, as long as it lasts; `sent` bytes went out so far.

    Only the time counts in which there was something to send: what upstream is slow to bring is not the client's doing.
    """

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._spent_s = 0.0
        self._taken = 0
        self._since = 0.0
        self._sends = False
        self.sent = 0

    def rate(self, connection: socket.socket) -> float | None:
        """Return the bytes a second that the client takes; None while that is not known or nothing is being sent."""
        spent_s = self._spent_s + time.monotonic() - self._since
        if not self._sends or spent_s < _KNOWN_AFTER_S:
            return None
        return (self.sent - _unsent(connection) - self._taken) / spent_s

    @contextlib.contextmanager
    def sending(self, connection: socket.socket) -> Iterator[None]:
        """Count the time until the block ends; raise TooSlow as `look` does."""
        self._since, self._sends = time.monotonic(), True
        try:
            yield
        finally:
            self._sends = False
        self.look(connection)
        self._spent_s += time.monotonic() - self._since

    def look(self, connection: socket.socket) -> None:
        """Raise TooSlow if the client took too little in the time that counts."""
        now = time.monotonic()
        spent_s = self._spent_s + now - self._since
        if spent_s < self._limits.slow_s:
            return
        taken = self.sent - _unsent(connection)
        if taken - self._taken < self._limits.least_rate * spent_s:
            raise TooSlow("the client takes too little")
        self._spent_s, self._since, self._taken = 0.0, now, taken


def _unsent(connection: socket.socket) -> int:
    """Say how many bytes the client's machine has not acknowledged: tcp(7), SIOCOUTQ."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    except OSError:
        return 0
    return count[0]
