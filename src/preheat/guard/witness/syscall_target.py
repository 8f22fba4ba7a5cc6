"""Syscall target: classify a system call as a connection, a connection to a resolver, or a name query."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Callable

from preheat.guard.kernel.seccomp import Call
from preheat.guard.witness.call_target import Message, messages
from preheat.guard.witness.name_lookups import NameLookup, asked_of, dns_questions
from preheat.guard.witness.sockaddr import Address

_ON_A_CONNECTION = ("write", "writev")


@dataclass(frozen=True)
class SingleAttempt:
    """One attempt to connect to `address`; if `asked` is not None, an attempt to send these queries to it.

    `line` identifies a socket that is connected to a resolver, as the link in /proc/PID/fd. `idle` marks data sent to a
    resolver that is not a query about other hosts.
    """

    address: Address
    line: str = ""
    asked: tuple[NameLookup, ...] | None = None
    idle: bool = False


def single_attempts(
    call: Call, resolver_at: Callable[[str], Address | None], counts: Callable[[Address], bool]
) -> tuple[list[SingleAttempt], str]:
    """Return a call's attempts, and the socket, if any, that it connects to an address that is not a resolver.

    `resolver_at` returns the resolver to which a socket is connected, or None; `counts` returns whether an address is
    counted. Raise OSError if the caller's memory cannot be read.
    """
    found: list[SingleAttempt] = []
    gone = ""
    for message in messages(call):
        address = message.address
        if call.name == "connect":
            line = _line(call)
            if address is not None and counts(address):
                found.append(SingleAttempt(address, line if address.lookup else ""))
            if address is None or not address.lookup:
                gone = line
        elif address is not None:
            if counts(address):
                asked = tuple(dns_questions(message.read(call.thread))) if address.lookup else None
                found.append(SingleAttempt(address, asked=asked))
        else:
            line = _line(call)
            resolver = resolver_at(line)
            if resolver is not None:
                found += _on_line(line, resolver, message, call.thread)
    return found, gone


def matters_only_to_resolvers(call: Call) -> bool:
    """Return whether a call is relevant only on a socket that is connected to a resolver."""
    return call.name in _ON_A_CONNECTION or (call.name == "sendto" and call.arguments[4] == 0)


def _on_line(line: str, resolver: Address, message: Message, thread: int) -> list[SingleAttempt]:
    sent = message.read(thread)
    if not resolver.is_file:
        asked: list[NameLookup] | None = dns_questions(sent)
    else:
        asked = asked_of(resolver.host, sent)
        if asked is not None and any(_of_this_machine(question.name) for question in asked):
            asked = None
    if asked is None:
        return [SingleAttempt(resolver, line, (), idle=True)]
    return [SingleAttempt(resolver, line, tuple(asked))] if asked else []


def _of_this_machine(name: str) -> bool:
    """Return whether a local resolver resolves the name without a query to another host."""
    return name.rstrip(".") in ("localhost", socket.gethostname().lower()) or name.rstrip(".").endswith(".localhost")


def _line(call: Call) -> str:
    try:
        return os.readlink(f"/proc/{call.thread}/fd/{call.arguments[0] & 0xFFFFFFFF}")
    except OSError:
        return ""
