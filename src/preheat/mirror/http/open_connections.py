"""Open connections: track the connections that have a thread, and make room for new ones."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from preheat.net.fair_share import greediest

# Maximum wait at a time in a thread that must react to signals.
GLANCE_S = 0.2


class ClientLink(Protocol):
    """A connection's socket, as Crowd needs it."""

    def hang_up(self) -> None:
        """Shut it down from another thread."""

    def taking_rate(self) -> float | None:
        """Return the bytes a second that the client receives of the current response, None if unknown."""


class OpenConnection(Protocol):
    """A connection, as Crowd needs it; `client` is whose it is."""

    client: str

    @property
    def wire(self) -> ClientLink:
        """Its socket."""


# When all slots are taken, a client that receives less than this may be disconnected.
_SLOW_RATE = 65_536
_PAUSE_S = 1.0  # connections that paused for less are not closed as idle ones


class Crowd:
    """Allow `most` connections with a thread at a time. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._idle: dict[OpenConnection, float] = {}  # since when, the longest idle first
        self._busy: dict[OpenConnection, None] = {}  # longest busy first
        self.waiting: Callable[[], int] = lambda: 0  # the number of connections without a thread
        self.stopping = False
        self.turned_away = 0

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy) + self.waiting()

    @property
    def busy(self) -> int:
        """Number of connections with a request in progress."""
        return len(self._busy)

    def enter(self, member: OpenConnection) -> bool:
        """Add a connection, as idle; return whether there was room.

        If all slots are taken, disconnect the longest idle connection, else the one that receives slowest, else one of
        the client that has most: clients that hold connections open without requests, receive very slowly, or open very
        many, cannot block others.
        """
        with self._changed:
            if self.stopping:
                return False
            if len(self._idle) + len(self._busy) >= self._most:
                going = self._dispensable(member.client)
                if going is None:
                    return False
                self._idle.pop(going, None)
                self._busy.pop(going, None)
                going.wire.hang_up()
            self._idle[member] = time.monotonic()
            return True

    def _dispensable(self, newcomer: str) -> OpenConnection | None:
        counts = Counter(one.client for one in (*self._idle, *self._busy))
        most, unfair = greediest(counts), greediest(counts, newcomer)
        silent = time.monotonic() - _PAUSE_S
        return (
            next((one for one in self._idle if one.client == most), None)
            or next((one for one, since in self._idle.items() if since < silent), None)
            or self._slowest()
            or next((one for one in reversed(self._busy) if one.client == unfair), None)
            or next(iter(self._idle), None)
        )

    def _slowest(self) -> OpenConnection | None:
        rates = [(rate, member) for member in self._busy if (rate := member.wire.taking_rate()) is not None]
        rate, slowest = min(rates, key=lambda pair: pair[0], default=(float("inf"), None))
        return slowest if rate < _SLOW_RATE else None

    def turn_away(self) -> None:
        """Count a connection that was turned away; while the server stops, all are, which does not count."""
        with self._changed:
            self.turned_away += not self.stopping

    def leave(self, member: OpenConnection) -> None:
        """Remove a connection."""
        with self._changed:
            self._idle.pop(member, None)
            self._busy.pop(member, None)
            if self.stopping:
                self._changed.notify_all()

    @contextlib.contextmanager
    def answering(self, member: OpenConnection) -> Iterator[None]:
        """Mark a connection as busy for the block; raise ConnectionAbortedError if it was just disconnected."""
        with self._changed:
            if member not in self._idle:
                raise ConnectionAbortedError("disconnected to make room")
            del self._idle[member]
            self._busy[member] = None
        try:
            yield
        finally:
            with self._changed:
                if member in self._busy:  # else it was disconnected to make room
                    self._busy.pop(member, None)
                    self._idle[member] = time.monotonic()
                if self.stopping:
                    self._changed.notify_all()

    def hang_up(self, patience_s: float) -> None:
        """Close all connections: idle ones at once, busy ones when done, or after `patience_s` seconds."""
        with self._changed:
            self.stopping = True
            for member in self._idle:
                member.wire.hang_up()
            deadline = time.monotonic() + patience_s
            while self._busy and (left_s := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left_s, GLANCE_S))
            for member in (*self._busy, *self._idle):
                member.wire.hang_up()
            self._changed.wait_for(lambda: not self._idle and not self._busy, 1.0)
