"""Slow clients: measure the rate at which a client receives, by the bytes that its machine has acknowledged."""

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
    """The client received too few bytes for too long."""


class SendRate:
    """Measure one connection's rate; `sent` counts the bytes sent so far.

    Only time with data to send counts: waiting for a slow upstream is not the client's fault.
    """

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._spent_s = 0.0
        self._taken = 0
        self._since = 0.0
        self._sends = False
        self.sent = 0

    def rate(self, connection: socket.socket) -> float | None:
        """Return the bytes a second that the client receives; None while that is unknown or nothing is being sent."""
        spent_s = self._spent_s + time.monotonic() - self._since
        if not self._sends or spent_s < _KNOWN_AFTER_S:
            return None
        return (self.sent - _unsent(connection) - self._taken) / spent_s

    @contextlib.contextmanager
    def sending(self, connection: socket.socket) -> Iterator[None]:
        """Count the time of the block; raise TooSlow as `look` does."""
        self._since, self._sends = time.monotonic(), True
        try:
            yield
        finally:
            self._sends = False
        self.look(connection)
        self._spent_s += time.monotonic() - self._since

    def look(self, connection: socket.socket) -> None:
        """Raise TooSlow if the client received too few bytes in the counted time."""
        now = time.monotonic()
        spent_s = self._spent_s + now - self._since
        if spent_s < self._limits.slow_s:
            return
        taken = self.sent - _unsent(connection)
        if taken - self._taken < self._limits.least_rate * spent_s:
            raise TooSlow("the client receives too slowly")
        self._spent_s, self._since, self._taken = 0.0, now, taken


def _unsent(connection: socket.socket) -> int:
    """Return how many bytes the client's machine has not acknowledged: tcp(7), SIOCOUTQ."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, count)
    except OSError:
        return 0
    return count[0]
