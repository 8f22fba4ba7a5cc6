"""Idle connections: watch many connections in one thread, until each has sent a complete request."""

import contextlib
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from preheat.mirror.http.limits import ServerLimits
from preheat.net.fair_share import greediest

_LOOK_EVERY_S = 1.0


class Visitor(Protocol):
    """A connection, as IdleConnections needs it; `client` identifies its client."""

    client: str

    @property
    def socket(self) -> socket.socket:
        """The socket to watch."""

    @property
    def begun(self) -> bool:
        """Whether a request has begun to arrive."""

    def ready(self) -> bool:
        """Read what has arrived, without waiting; return whether the connection needs a thread."""

    def hang_up(self) -> None:
        """Close it."""


_Visitor = TypeVar("_Visitor", bound=Visitor)


class _Queue(Generic[_Visitor]):
    """Waiting connections and their deadlines, the earliest first; the client that has most makes room for others."""

    def __init__(self, most: int, within_s: float) -> None:
        self._most = most
        self._within_s = within_s
        self.until: dict[_Visitor, float] = {}
        self._by_client: Counter[str] = Counter()

    def add(self, visitor: _Visitor) -> _Visitor | None:
        """Add a connection; return the one to close for it."""
        going = self.most_dispensable() if len(self.until) >= self._most else None
        self.until[visitor] = time.monotonic() + self._within_s
        self._by_client[visitor.client] += 1
        return going

    def most_dispensable(self) -> _Visitor | None:
        """Return the longest waiting connection of the client that has most."""
        client = greediest(self._by_client)
        return next((one for one in self.until if one.client == client), None)

    def late(self, now: float) -> list[_Visitor]:
        """Return the connections that have waited too long."""
        return [one for one, until in self.until.items() if until < now]

    def remove(self, visitor: _Visitor) -> bool:
        """Remove a connection; return whether it was waiting."""
        if self.until.pop(visitor, None) is None:
            return False
        self._by_client[visitor.client] -= 1
        if not self._by_client[visitor.client]:
            del self._by_client[visitor.client]
        return True


class IdleConnections(Generic[_Visitor]):
    """Watch connections until a request has arrived, then call `begin`.

    `waiting` connections may be silent, each for `idle_s` seconds, and `connections` may have sent a part of a request,
    each for `head_s` seconds. If there are more, a connection of the client with the most is closed. One thread at a
    time calls `look`, and `begin` is called in it; all else is thread-safe.

    `begin` gets a connection that is still watched, so that a short request costs no system call for that: call
    `resume` after it, or `unwatch` before the socket is closed or another thread calls `look`. `begin` returns whether
    its thread may go on.
    """

    def __init__(self, limits: ServerLimits, begin: Callable[[_Visitor], bool]) -> None:
        self._begin = begin
        self._selector = selectors.DefaultSelector()
        self._turn = threading.Lock()  # guards all below
        self._silent: _Queue[_Visitor] = _Queue(limits.waiting, limits.idle_s)
        self._begun: _Queue[_Visitor] = _Queue(limits.connections, limits.head_s)
        self._closed = False
        self._looked_at = 0.0

    def __len__(self) -> int:
        return len(self._silent.until) + len(self._begun.until)

    def watch(self, listening: socket.socket, welcome: Callable[[], None]) -> None:
        """Call `welcome` in `look` when the listening socket has a connection."""
        self._selector.register(listening, selectors.EVENT_READ, welcome)

    def enter(self, visitor: _Visitor) -> None:
        """Let a connection wait."""
        with self._turn:
            if not self._closed:
                self._selector.register(visitor.socket, selectors.EVENT_READ, visitor)
                self._wait(visitor)
                return
        visitor.hang_up()

    def resume(self, visitor: _Visitor) -> None:
        """Let a connection wait that is still watched."""
        with self._turn:
            if not self._closed:
                self._wait(visitor)
                return
        self.unwatch(visitor)
        visitor.hang_up()

    def unwatch(self, visitor: _Visitor) -> None:
        """Stop watching a connection."""
        with self._turn:
            self._unregister(visitor)

    def look(self) -> None:
        """Wait for connections that have something to read, and begin them; close those that waited too long."""
        for key, _ in self._selector.select(_LOOK_EVERY_S):
            if callable(key.data):
                key.data()
            elif self._take(key.data) and not self._begin(key.data):
                return
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            with self._turn:
                for one in (*self._silent.late(now), *self._begun.late(now)):
                    self._close(one)

    def make_room(self) -> bool:
        """Close the longest waiting connection of the client that has most; return whether there was one."""
        with self._turn:
            going = self._silent.most_dispensable() or self._begun.most_dispensable()
            self._close(going)
        return going is not None

    def close(self) -> None:
        """Close all connections."""
        with self._turn:
            self._closed = True
            for one in (*self._silent.until, *self._begun.until):
                self._close(one)

    def _take(self, visitor: _Visitor) -> bool:
        """Read from a connection; return whether it no longer waits, to be served."""
        with self._turn:
            if visitor not in self._silent.until and visitor not in self._begun.until:
                return False  # it was just closed
            if visitor.ready():
                return self._silent.remove(visitor) or self._begun.remove(visitor)
            if visitor.begun and self._silent.remove(visitor):
                self._close(self._begun.add(visitor))
            return False

    def _wait(self, visitor: _Visitor) -> None:
        self._close((self._begun if visitor.begun else self._silent).add(visitor))

    def _close(self, visitor: _Visitor | None) -> None:
        if visitor is not None:
            self._silent.remove(visitor)
            self._begun.remove(visitor)
            self._unregister(visitor)
            visitor.hang_up()

    def _unregister(self, visitor: _Visitor) -> None:
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(visitor.socket)
