"""Name lookups: parse the host names in the bytes that a program sends to a resolver.

Supported are DNS (RFC 1035, section 4) over datagrams and streams; the varlink interface of systemd-resolved, used by
nss-resolve(8); nscd(8); and avahi-daemon, used by nss-mdns.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from dataclasses import dataclass

NSCD, RESOLVED, AVAHI = "/nscd/socket", "/systemd/resolve/io.systemd.Resolve", "/avahi-daemon/socket"

_HEADER = struct.Struct(">HHHHHH")
_MOST_QUESTIONS, _MOST_LABEL, _MOST_NAME = 4, 63, 255
_PLAIN = re.compile(rb"[\x21-\x7e]+\Z")
# nscd/nscd-client.h: the values of request_type that look up hosts.
_NSCD_HEADER, _NSCD_VERSION = struct.Struct("=iii"), 2
_NSCD_NAMES, _NSCD_ADDRESSES = (4, 5, 14), {6: socket.AF_INET, 7: socket.AF_INET6}
_AVAHI = re.compile(rb"RESOLVE-(?:HOSTNAME(?:-IPV[46])?|ADDRESS) ([\x21-\x7e]{1,255})\n")


@dataclass(frozen=True)
class NameLookup:
    """A name in a query; `kind` is the type of the query (for DNS, the record type: 1 is A, 28 is AAAA)."""

    name: str
    kind: int = 0


def dns_questions(sent: bytes) -> list[NameLookup]:
    """Parse the questions of a DNS message, with or without the two-byte length prefix that streams use.

    Return an empty list if the bytes are not a DNS query.
    """
    found = _message(sent)
    if not found and len(sent) > 2:
        found = _message(sent[2:])
    return found


def asked_of(resolver: str, sent: bytes) -> list[NameLookup] | None:
    """Parse a query to a resolver's Unix socket; return None if it is not a query about hosts.

    An empty list means a query whose names cannot be read.
    """
    if resolver.endswith(RESOLVED):
        return _varlink(sent)
    if resolver.endswith(NSCD):
        return _nscd(sent)
    found = _AVAHI.match(sent)
    return [NameLookup(_decoded(found[1]))] if found else []


def _message(sent: bytes) -> list[NameLookup]:
    if len(sent) < _HEADER.size:
        return []
    _, flags, count, *_ = _HEADER.unpack_from(sent)
    if flags & 0x8000 or flags & 0x7800 or not 1 <= count <= _MOST_QUESTIONS:
        return []
    found: list[NameLookup] = []
    at = _HEADER.size
    for _ in range(count):
        name, at = _name(sent, at)
        if at + 4 > len(sent):
            return []
        kind, category = struct.unpack_from(">HH", sent, at)
        at += 4
        if not name or category & 0x7FFF not in (1, 255):  # IN, or any; multicast DNS uses the upper bit
            return []
        found.append(NameLookup(name, kind))
    return found


def _name(sent: bytes, at: int) -> tuple[str, int]:
    """Parse the labels at offset `at`; return the name, or "" if it is invalid, and the offset of its end."""
    labels: list[bytes] = []
    while at < len(sent):
        size = sent[at]
        at += 1
        if size == 0:
            return _decoded(b".".join(labels)), at
        label = sent[at : at + size]
        # A question is the first name of a message, so it has no earlier name to point to: reject compression.
        if size > _MOST_LABEL or len(label) < size or not _PLAIN.match(label):
            break
        labels.append(label)
        at += size
        if sum(map(len, labels)) > _MOST_NAME:
            break
    return "", len(sent)


def _varlink(sent: bytes) -> list[NameLookup] | None:
    try:
        asked = json.loads(sent.partition(b"\0")[0].decode("utf-8"))
        method, parameters = asked["method"], asked.get("parameters") or {}
        if method == "io.systemd.Resolve.ResolveHostname":
            return [NameLookup(str(parameters["name"]), int(parameters.get("family") or 0))]
        if method == "io.systemd.Resolve.ResolveAddress":
            family = int(parameters["family"])
            return [NameLookup(socket.inet_ntop(family, bytes(parameters["address"])))]
        if method in ("io.systemd.Resolve.ResolveRecord", "io.systemd.Resolve.ResolveService"):
            return [NameLookup(str(parameters.get("name") or parameters.get("domain")))]
    except (ValueError, LookupError, TypeError, AttributeError, OSError, OverflowError, RecursionError):
        return []
    return None


def _nscd(sent: bytes) -> list[NameLookup] | None:
    if len(sent) < _NSCD_HEADER.size:
        return []
    version, kind, size = _NSCD_HEADER.unpack_from(sent)
    key = sent[_NSCD_HEADER.size : _NSCD_HEADER.size + max(size, 0)]
    if version != _NSCD_VERSION:
        return []
    if kind in _NSCD_NAMES:
        return [NameLookup(_decoded(key.rstrip(b"\0")), 0 if kind == 14 else kind)]
    if kind in _NSCD_ADDRESSES:
        try:
            return [NameLookup(socket.inet_ntop(_NSCD_ADDRESSES[kind], key))]
        except (ValueError, OSError):
            return []
    return None


def _decoded(name: bytes) -> str:
    return name.decode("ascii", "replace").lower()
