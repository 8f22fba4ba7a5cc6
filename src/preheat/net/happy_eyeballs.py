"""Happy Eyeballs: connect to the first address of a host that responds (RFC 8305), and remember slow ones."""

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

from preheat.net.interrupt import wait_writable
from preheat.net.interruptible_sockets import PlainSocket

# RFC 8305 section 8: the connection attempt delay.
_DELAY_S = 0.25

Options = Sequence[tuple[int, int, int | bytes]]
Address = tuple[socket.AddressFamily, tuple[Any, ...]]
Sift = Callable[[str, int, Sequence[Address]], Sequence[Address]]


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host in the system's order. Raise socket.gaierror if it has none."""
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, place) for family, _, _, _, place in found))


def all_of(host: str, port: int, addresses: Sequence[Address]) -> Sequence[Address]:  # noqa: ARG001 - a Sift
    """Return all `addresses`."""
    return addresses


class Race:
    """Connect to hosts with several addresses; thread-safe, and slow addresses are remembered for all threads.

    The next address is tried in parallel after `delay_s` seconds without a response.
    """

    def __init__(self, find: Callable[[str, int], list[Address]] = resolve, delay_s: float = _DELAY_S) -> None:
        self._find = find
        self._delay_s = delay_s
        self._late: set[Address] = set()
        self._late_families: set[int] = set()
        self._turn = threading.Lock()
        self._round_trips: dict[tuple[str, int], float] = {}

    def round_trip_s(self, host: str, port: int) -> float:
        """Return the shortest time in seconds that a connection to a host has taken; 0 if there was none."""
        return self._round_trips.get((host, port), 0.0)

    def connect(
        self, host: str, port: int, timeout_s: float | None, options: Options, sift: Sift = all_of
    ) -> PlainSocket:
        """Return a connection to the first address of `host` that responds, of those that `sift` returns.

        Raise socket.gaierror for a host without an address, TimeoutError if no address responds, OSError if all
        refuse, and Interrupted if this thread is interrupted.
        """
        waiting = self._order(sift(host, port, self._find(host, port)))
        began = time.monotonic()
        deadline = None if timeout_s is None else began + timeout_s
        running: dict[PlainSocket, Address] = {}
        error: OSError | None = None
        try:
            while waiting or running:
                if waiting:
                    error = _begin(waiting.pop(0), options, running) or error
                    if not running:
                        continue
                for line in _ready(running, deadline, self._delay_s if waiting else None):
                    hub_error = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not hub_error:
                        won = running.pop(line)
                        self._learn(won, running.values())
                        took_s = time.monotonic() - began
                        self._round_trips[host, port] = min(self._round_trips.get((host, port), took_s), took_s)
                        line.settimeout(timeout_s)
                        return line
                    error = OSError(hub_error, os.strerror(hub_error))
                    del running[line]
                    line.close()
            raise error or OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        finally:
            for line in running:
                line.close()

    def _order(self, addresses: Sequence[Address]) -> list[Address]:
        """Alternate the address families, the resolver's first choice first; slow addresses come last."""
        with self._turn:
            late, families = set(self._late), set(self._late_families)
        first = [one for one in addresses if one[0] == addresses[0][0]]
        second = [one for one in addresses if one[0] != addresses[0][0]]
        turns = [one for pair in zip_longest(first, second) for one in pair if one is not None]
        return sorted(turns, key=lambda one: (one[0] in families, one in late))

    def _learn(self, won: Address, running: Iterable[Address]) -> None:
        late = set(running)
        with self._turn:
            self._late.discard(won)
            self._late_families.discard(won[0])
            self._late.update(late)
            self._late_families.update(one[0] for one in late if one[0] != won[0])


def _begin(address: Address, options: Options, running: dict[PlainSocket, Address]) -> OSError | None:
    """Start to connect without blocking; return the error if that fails at once."""
    family, place = address
    try:
        line = PlainSocket(family, socket.SOCK_STREAM)
    except OSError as error:
        return error  # this machine does not support the address family
    try:
        for level, name, value in options:
            line.setsockopt(level, name, value)
        line.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):
            line.connect(place)
    except OSError as error:
        line.close()
        return error
    running[line] = address
    return None


def _ready(running: dict[PlainSocket, Address], deadline: float | None, delay_s: float | None) -> list[PlainSocket]:
    """Return the sockets that are connected or have failed; none after `delay_s` seconds. Raise TimeoutError."""
    left_s = None if deadline is None else deadline - time.monotonic()
    if left_s is not None and left_s <= 0:
        raise TimeoutError("timed out")
    waits = [one for one in (left_s, delay_s) if one is not None]
    return wait_writable(list(running), min(waits, default=None))
