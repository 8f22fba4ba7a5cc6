"""Asking: read successive requests from a connection."""

import http
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.hub.answers import Said


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]


def asked(connection: socket.socket) -> Iterator[Asked]:
    """Yield requests until the client disconnects; raise ValueError for an invalid one."""
    waiting = b""
    while True:
        while b"\r\n\r\n" not in waiting:
            data = connection.recv(65536)
            if not data:
                return
            waiting += data
        head, _, waiting = waiting.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.lower(): value.strip() for name, value in pairs}
        length = int(headers.get("content-length", 0))
        while len(waiting) < length:
            waiting += connection.recv(65536)
        waiting = waiting[length:]
        yield Asked(method, target, headers)


def head(said: Said) -> bytes:
    """Return the head of a response."""
    lines = [f"HTTP/1.1 {said.status} {http.HTTPStatus(said.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in said.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
