"""Connection counts: the addresses and names that an app and its children tried to reach, added up."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Tuple

from preheat.guard.witness.sockaddr import Address
from preheat.guard.witness.syscall_target import Inquiry

# Further ones are added up under one name or address: an app may try the whole internet.
_MOST_NAMES, _MOST_PLACES, _MOST_LINES = 256, 1024, 256
MORE_NAMES, MORE_ADDRESSES = "(more names)", "(more addresses)"

_Key = Tuple[Address, int, str, str]


@dataclass(frozen=True)
class Attempt:
    """`count` tries of one process to reach `address`; `lookup` when it asks there for a name.

    `name` is the name that is looked up, empty where it cannot be read; of a connection, the name that the same thread
    (or else the same process, if it asked for only one) looked up last before, empty where there is none. `program` is
    what the process calls itself; `at` is time.time() of the first try.
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
    """A socket that is connected to a resolver; `unasked` is the lookup that its connect counted, until a name is."""

    address: Address
    unasked: _Key | None


class ConnectionCounts:
    """Add up tries. It has no lock: whoever shares it brings one."""

    def __init__(self) -> None:
        self._attempts: dict[_Key, Attempt] = {}
        self._kinds: dict[_Key, dict[int, int]] = {}
        self._lines: dict[str, _Line] = {}
        self._names: set[str] = set()
        self._last: dict[int, str] = {}
        self._asked_by: dict[int, set[str]] = {}

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """List what was tried, in the order of the first tries."""
        return tuple(self._attempts.values())

    @property
    def waits(self) -> bool:
        """Whether any socket is connected to a resolver."""
        return bool(self._lines)

    def resolver_at(self, line: str) -> Address | None:
        """Return the resolver that a socket is connected to, None when it is no such socket."""
        known = self._lines.get(line)
        return None if known is None else known.address

    def forget(self, line: str) -> None:
        """Take note that a socket is connected elsewhere now."""
        self._lines.pop(line, None)

    def add(self, inquiry: Inquiry, thread: int, process: int, program: str) -> None:
        """Count one try of a thread."""
        if inquiry.asked is None:
            named = "" if inquiry.address.lookup else self._looked_up(thread, process, inquiry.address)
            key = self._key(inquiry.address, process, program, named)
            self._count(key, 1)
            if inquiry.line:
                self._remember(inquiry.line, _Line(inquiry.address, key))
            return
        known = self._lines.get(inquiry.line)
        if known is not None and known.unasked is not None and (inquiry.asked or inquiry.idle):
            self._count(known.unasked, -1)
            self._lines[inquiry.line] = replace(known, unasked=None)
        if not inquiry.asked and not inquiry.idle:
            self._count(self._key(inquiry.address, process, program, ""), 1)
        for question in inquiry.asked:
            name = self._bounded(question.name)
            key = self._key(inquiry.address, process, program, name)
            kinds = self._kinds.setdefault(key, {})
            kinds[question.kind] = kinds.get(question.kind, 0) + 1
            # Both addresses of a name, IPv4 and IPv6, are asked for at once: that is one lookup.
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
    """Drop the oldest of a dict that has as many as it may."""
    while len(known) >= most:
        del known[next(iter(known))]
    return known
