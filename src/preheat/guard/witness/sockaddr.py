"""Sockaddr: parse the address in a socket call as the kernel does."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from preheat.guard.witness.name_lookups import AVAHI, NSCD, RESOLVED

# Resolvers that listen on a Unix socket.
_RESOLVERS = (NSCD, RESOLVED, AVAHI)
_LOOKUP_PORTS = (53, 853, 5353, 5355)  # DNS, DNS over TLS, multicast DNS, LLMNR
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - as a destination, this is the machine itself


@dataclass(frozen=True)
class Address:
    """A host and a port, or the path of a Unix socket with port 0."""

    host: str
    port: int

    @property
    def is_file(self) -> bool:
        """Return whether it is the path of a Unix socket."""
        return self.host.startswith("/")

    @property
    def loopback(self) -> bool:
        """Return whether connections to it stay on this machine."""
        host = self.host[7:] if self.host.startswith("::ffff:") else self.host
        return self.is_file or host.startswith("127.") or host == "::1" or host in _ANYWHERE

    @property
    def lookup(self) -> bool:
        """Return whether a resolver usually listens on it."""
        return self.host.endswith(_RESOLVERS) if self.is_file else self.port in _LOOKUP_PORTS


def read_sockaddr(raw: bytes) -> Address | None:
    """Parse a `struct sockaddr`; return None if it is neither IPv4, IPv6 nor the path of a Unix socket."""
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET and len(raw) >= 8:
        return Address(socket.inet_ntop(socket.AF_INET, raw[4:8]), port)
    if family == socket.AF_INET6 and len(raw) >= 24:
        return Address(socket.inet_ntop(socket.AF_INET6, raw[8:24]), port)
    if family == socket.AF_UNIX and raw[2:3] == b"/":
        return Address(raw[2:].partition(b"\0")[0].decode("utf-8", "replace"), 0)
    return None
