"""Relayed end: one of the two sockets of a relayed connection, and the bytes to write to it."""

from __future__ import annotations

import select
import socket
from contextlib import suppress

_CHUNK, _MOST_BUFFERED = 64 * 1024, 256 * 1024


class RelayedEnd:
    """One side of a relayed connection, to the instance at `port`.

    `waiting` holds the bytes to write to `sock`. `at_eof`: EOF was read from it. `shut_down`: its write side was shut
    down. `events` are the epoll events that are registered.
    """

    def __init__(self, sock: socket.socket, port: int) -> None:
        self.sock = sock
        self.port = port
        self.other: RelayedEnd = self
        self.waiting = bytearray()
        self.at_eof = False
        self.shut_down = False
        self.events = 0

    def read(self) -> None:
        """Read what has arrived, and write it to the other side. Raise OSError if the connection is lost."""
        try:
            chunk = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return
        if chunk:
            self.other.waiting += chunk
        else:
            self.at_eof = True
        self.other.write()

    def write(self) -> None:
        """Write what is waiting; after the last byte of an ended side, pass the end on. Raise OSError as `read`."""
        if self.waiting:
            try:
                sent = self.sock.send(self.waiting)
            except BlockingIOError:
                return
            del self.waiting[:sent]
        if not self.waiting and self.other.at_eof and not self.shut_down:
            self.shut_down = True
            self.sock.shutdown(socket.SHUT_WR)

    def wanted(self) -> int:
        """Return the epoll events to wait for: no more is read while the other side is slow to take it."""
        events = 0
        if not self.at_eof and len(self.other.waiting) < _MOST_BUFFERED:
            events |= select.EPOLLIN
        if self.waiting:
            events |= select.EPOLLOUT
        return events


def connected(client: socket.socket, server: socket.socket, port: int) -> RelayedEnd:
    """Return the client's end of a connection that is relayed between two sockets."""
    one, two = RelayedEnd(client, port), RelayedEnd(server, port)
    one.other, two.other = two, one
    for end in (one, two):
        end.sock.setblocking(False)
        with suppress(OSError):
            end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one
