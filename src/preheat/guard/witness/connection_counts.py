"""Connection counts: count the addresses and names that an app and its children tried to reach."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Tuple

from preheat.guard.witness.sockaddr import Address
from preheat.guard.witness.syscall_target import SingleAttempt

# Limits on memory: further names or addresses are counted under one common entry.
_MOST_NAMES, _MOST_PLACES, _MOST_LINES = 256, 1024, 256
MORE_NAMES, MORE_ADDRESSES = "(more names)", "(more addresses)"

_Key = Tuple[Address, int, str, str]


@dataclass(frozen=True)
class Attempt:
    """`count` attempts of one process to reach `address`, or with `lookup`, to look up a name there.

    For a lookup, `name` is the name, or empty if it is not readable. For a connection, it is the name that the same
    thread looked up last, or else the only name that its process looked up, or empty. `program` is the name of the
    process; `at` is the time.time() of the first attempt.
    """

    address: str
    port: int
    pid: int
    program: str
    at: float
    lookup: bool
    loopback: bool
    count: int = 1
    name: str = ""


@dataclass(frozen=True)
class _Line:
    """A socket that is connected to a resolver.

    `unasked` is the key of the lookup counted for its connect, until a query with a name replaces it.
    """

    address: Address
    unasked: _Key | None


class ConnectionCounts:
    """Count attempts. Not thread-safe: callers must use a lock."""

    def __init__(self) -> None:
        self._attempts: dict[_Key, Attempt] = {}
        self._kinds: dict[_Key, dict[int, int]] = {}
        self._lines: dict[str, _Line] = {}
        self._names: set[str] = set()
        self._last: dict[int, str] = {}
        self._asked_by: dict[int, set[str]] = {}

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Return the attempts, in the order in which each was first made."""
        return tuple(self._attempts.values())

    @property
    def waits(self) -> bool:
        """Return whether any socket is connected to a resolver."""
        return bool(self._lines)

    def resolver_at(self, line: str) -> Address | None:
        """Return the resolver to which a socket is connected, or None."""
        known = self._lines.get(line)
        return None if known is None else known.address

    def forget(self, line: str) -> None:
        """Record that a socket is no longer connected to a resolver."""
        self._lines.pop(line, None)

    def add(self, single: SingleAttempt, thread: int, process: int, program: str) -> None:
        """Count one attempt of a thread."""
        if single.asked is None:
            named = "" if single.address.lookup else self._looked_up(thread, process, single.address)
            key = self._key(single.address, process, program, named)
            self._count(key, 1)
            if single.line:
                self._remember(single.line, _Line(single.address, key))
            return
        known = self._lines.get(single.line)
        if known is not None and known.unasked is not None and (single.asked or single.idle):
            self._count(known.unasked, -1)
            self._lines[single.line] = replace(known, unasked=None)
        if not single.asked and not single.idle:
            self._count(self._key(single.address, process, program, ""), 1)
        for question in single.asked:
            name = self._bounded(question.name)
            key = self._key(single.address, process, program, name)
            kinds = self._kinds.setdefault(key, {})
            kinds[question.kind] = kinds.get(question.kind, 0) + 1
            # Resolvers query the IPv4 and IPv6 addresses of a name together: count them as one lookup.
            before = self._attempts.get(key)
            self._count(key, max(kinds.values()) - (before.count if before else 0))
            _keep_bounded(self._last)[thread] = name
            _keep_bounded(self._asked_by).setdefault(process, set()).add(name)

    def _looked_up(self, thread: int, process: int, address: Address) -> str:
        if address.loopback:
            return ""
        if thread in self._last:
            return self._last[thread]
        names = self._asked_by.get(process, set())
        return next(iter(names)) if len(names) == 1 else ""

    def _bounded(self, name: str) -> str:
        if name in self._names or len(self._names) < _MOST_NAMES:
            self._names.add(name)
            return name
        return MORE_NAMES

    def _key(self, address: Address, process: int, program: str, name: str) -> _Key:
        key = (address, process, program, name)
        if key in self._attempts or len(self._attempts) < _MOST_PLACES:
            return key
        return (Address(MORE_ADDRESSES, 53 if address.lookup else 0), 0, "", "")

    def _remember(self, line: str, known: _Line) -> None:
        _keep_bounded(self._lines, _MOST_LINES)[line] = known

    def _count(self, key: _Key, more: int) -> None:
        address, process, program, name = key
        known = self._attempts.get(key)
        if known is None:
            if more > 0:
                self._attempts[key] = Attempt(
                    address.host,
                    address.port,
                    process,
                    program,
                    time.time(),
                    address.lookup,
                    address.loopback,
                    more,
                    name,
                )
        elif known.count + more > 0:
            self._attempts[key] = replace(known, count=known.count + more)
        else:
            del self._attempts[key]


def _keep_bounded(known: dict[Any, Any], most: int = _MOST_NAMES) -> dict[Any, Any]:
    """Drop the oldest entries of a dict until it has fewer than `most`; return it."""
    while len(known) >= most:
        del known[next(iter(known))]
    return known
