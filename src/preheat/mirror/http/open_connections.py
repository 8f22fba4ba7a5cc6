"""Open connections: which are open, which are busy, and whether there is room for one more."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol

# The longest that a thread waits at a stretch which signals are to reach.
GLANCE_S = 0.2


class OpenConnection(Protocol):
    """A connection."""

    def hang_up(self) -> None:
        """End it from another thread."""

    def taking_rate(self) -> float | None:
        """Return the bytes a second that the client takes of an answer on its way, None if that is not known."""


# A client that takes less makes room where all places are taken.
_SLOW_RATE = 65_536


class Crowd:
    """At most `most` connections; threads come and go."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._idle: dict[OpenConnection, None] = {}  # the longest idle first
        self._busy: set[OpenConnection] = set()
        self.stopping = False
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    @property
    def busy(self) -> int:
        """How many are being answered."""
        return len(self._busy)

    def enter(self, member: OpenConnection) -> bool:
        """Count a connection in, as idle; say whether there was room.

        Where there is none, the one that has asked for nothing for longest makes it, else the one that takes its answer
        slowest: who holds connections open without a word, or takes a little of an answer, keeps nobody out.
        """
        with self._changed:
            if self.stopping:
                return False
            if len(self) >= self._most:
                going = next(iter(self._idle), None) or self._slowest()
                if going is None:
                    self.turned_away += 1
                    return False
                self._idle.pop(going, None)
                self._busy.discard(going)
                going.hang_up()
            self._idle[member] = None
            return True

    def _slowest(self) -> OpenConnection | None:
        rates = [(rate, member) for member in self._busy if (rate := member.taking_rate()) is not None]
        rate, slowest = min(rates, key=lambda pair: pair[0], default=(float("inf"), None))
        return slowest if rate < _SLOW_RATE else None

    def leave(self, member: OpenConnection) -> None:
        """Count a connection out."""
        with self._changed:
            self._idle.pop(member, None)
            self._busy.discard(member)
            self._changed.notify_all()

    @contextlib.contextmanager
    def answering(self, member: OpenConnection) -> Iterator[None]:
        """Count a connection as busy meanwhile. Raise ConnectionAbortedError if it has just made room for another."""
        with self._changed:
            if member not in self._idle:
                raise ConnectionAbortedError("hung up on")
            del self._idle[member]
            self._busy.add(member)
        try:
            yield
        finally:
            with self._changed:
                if member in self._busy:  # else it has made room
                    self._busy.discard(member)
                    self._idle[member] = None
                self._changed.notify_all()

    def hang_up(self, patience_s: float) -> None:
        """End all connections: the idle at once, the busy when they are done or patience is over."""
        with self._changed:
            self.stopping = True
            for member in self._idle:
                member.hang_up()
            deadline = time.monotonic() + patience_s
            while self._busy and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left_s, GLANCE_S))
            for member in (*self._busy, *self._idle):
                member.hang_up()
            self._changed.wait_for(lambda: not len(self), 1.0)
