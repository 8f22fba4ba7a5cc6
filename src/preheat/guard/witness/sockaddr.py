"""Sockaddr: the address in a socket call, parsed as the kernel does."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from preheat.guard.witness.name_lookups import AVAHI, NSCD, RESOLVED

# Resolvers behind a socket file.
_RESOLVERS = (NSCD, RESOLVED, AVAHI)
_LOOKUP_PORTS = (53, 853, 5353, 5355)  # DNS, DNS over TLS, multicast DNS, LLMNR
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - as a destination, this is the machine itself


@dataclass(frozen=True)
class Address:
    """A host and a port; or a socket file, with port 0."""

    host: str
    port: int

    @property
    def is_file(self) -> bool:
        """Whether it is a socket file."""
        return self.host.startswith("/")

    @property
    def loopback(self) -> bool:
        """Whether it never leaves the machine."""
        host = self.host[7:] if self.host.startswith("::ffff:") else self.host
        return self.is_file or host.startswith("127.") or host == "::1" or host in _ANYWHERE

    @property
    def lookup(self) -> bool:
        """Whether names are looked up there."""
        return self.host.endswith(_RESOLVERS) if self.is_file else self.port in _LOOKUP_PORTS


def read_sockaddr(raw: bytes) -> Address | None:
    """Read a `struct sockaddr`; None for what is neither IPv4, IPv6 nor a socket file."""
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) >= 8:
        return Address(socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
    if family == socket.AF_INET6 and len(raw) >= 24:
        return Address(socket.inet_ntop(socket.AF_INET6, raw[8:24]), port)
    if family == socket.AF_UNIX and raw[2:3] == b"/":
        return Address(raw[2:].partition(b"\0")[0].decode("utf-8", "replace"), 0)
    return None
