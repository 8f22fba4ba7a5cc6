"""Syscall target: what one system call is for: a connection, a resolver, or a response to a lookup."""

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
class Inquiry:
    """One try: to connect to `address`; or, when `asked` is not None, to send it these questions.

    `line` names the socket (as /proc/PID/fd does) where it is connected to a resolver; `idle` is for what goes to a
    resolver and is no question about other hosts.
    """

    address: Address
    line: str = ""
    asked: tuple[NameLookup, ...] | None = None
    idle: bool = False


def inquiries(
    call: Call, resolver_at: Callable[[str], Address | None], counts: Callable[[Address], bool]
) -> tuple[list[Inquiry], str]:
    """List what a call tries; and the socket that is connected anew by it, elsewhere than to a resolver.

    `resolver_at` says to which resolver a socket is connected, None for any other; `counts` whether an address counts.
    Raise OSError where the memory of who made it cannot be read.
    """
    found: list[Inquiry] = []
    gone = ""
    for message in messages(call):
        address = message.address
        if call.name == "connect":
            line = _line(call)
            if address is not None and counts(address):
                found.append(Inquiry(address, line if address.lookup else ""))
            if address is None or not address.lookup:
                gone = line
        elif address is not None:
            if counts(address):
                asked = tuple(dns_questions(message.read(call.thread))) if address.lookup else None
                found.append(Inquiry(address, asked=asked))
        else:
            line = _line(call)
            resolver = resolver_at(line)
            if resolver is not None:
                found += _on_line(line, resolver, message, call.thread)
    return found, gone


def needs_no_look(call: Call) -> bool:
    """Whether a call matters only on a socket that is connected to a resolver."""
    return call.name in _ON_A_CONNECTION or (call.name == "sendto" and call.arguments[4] == 0)


def _on_line(line: str, resolver: Address, message: Message, thread: int) -> list[Inquiry]:
    sent = message.read(thread)
    if not resolver.is_file:
        asked: list[NameLookup] | None = dns_questions(sent)
    else:
        asked = asked_of(resolver.host, sent)
        if asked is not None and any(_of_this_machine(question.name) for question in asked):
            asked = None
    if asked is None:
        return [Inquiry(resolver, line, (), idle=True)]
    return [Inquiry(resolver, line, tuple(asked))] if asked else []


def _of_this_machine(name: str) -> bool:
    """Whether a resolver on this machine answers for a name by itself."""
    return name.rstrip(".") in ("localhost", socket.gethostname().lower()) or name.rstrip(".").endswith(".localhost")


def _line(call: Call) -> str:
    try:
        return os.readlink(f"/proc/{call.thread}/fd/{call.arguments[0] & 0xFFFFFFFF}")
    except OSError:
        return ""
