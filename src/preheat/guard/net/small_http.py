"""Small HTTP: a server with one request per connection, for a few requests per minute."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Callable, Dict, NamedTuple, Tuple

_MOST_HEAD = 16 * 1024
_PATIENCE_S = 5.0  # for the complete request and response, however slow the client
_GOODBYE_S = 1.0
_PLACES = 64
_REASONS = {200: "OK", 302: "Found", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class HttpReply(NamedTuple):
    """An HTTP response; `kind` is its content type, and `headers` are added to the standard ones."""

    status: int
    kind: str
    body: bytes
    headers: Tuple[Tuple[str, str], ...] = ()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an IPv4 or IPv6 address. Raise OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


class RequestThreads:
    """Respond to requests, one thread per connection and at most 64 at once.

    A further connection replaces the oldest one, so that slow clients cannot block others. `_turn` guards `_places`.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._places: Dict[int, socket.socket] = {}
        self._count = 0

    def answer(self, client: socket.socket, answer: Callable[[str, str], HttpReply]) -> None:
        """Respond to one request on `client` in a new thread, then close the connection."""
        with self._turn:
            if len(self._places) >= _PLACES:
                oldest = next(iter(self._places))
                with suppress(OSError):
                    # Only shut it down: its own thread reads EOF and closes it.
                    self._places.pop(oldest).shutdown(socket.SHUT_RDWR)
            self._count += 1
            place = self._count
            self._places[place] = client

        def respond() -> None:
            try:
                with suppress(OSError, ValueError):
                    _respond(client, answer)
            finally:
                leave()

        def leave() -> None:
            with self._turn:
                self._places.pop(place, None)
            client.close()

        try:
            threading.Thread(target=respond, name="answer", daemon=True).start()
        except RuntimeError:
            leave()


def serve(listener: socket.socket, answer: Callable[[str, str], HttpReply]) -> Callable[[], None]:
    """Serve requests from a background thread; return a function that stops it."""
    closed = threading.Event()
    room = RequestThreads()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                if closed.wait(0.05):
                    return
                continue  # too many open files: retry
            room.answer(client, answer)

    def close() -> None:
        closed.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    threading.Thread(target=accept, name="status", daemon=True).start()
    return close


def _respond(client: socket.socket, answer: Callable[[str, str], HttpReply]) -> None:
    until = time.monotonic() + _PATIENCE_S
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
        client.settimeout(_left(until))
        more = client.recv(4096)
        if not more:
            return
        head += more
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return
    reply = answer(words[0], words[1].partition("?")[0])
    headers = [
        f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}",
        f"Content-Type: {reply.kind}; charset=utf-8",
        f"Content-Length: {len(reply.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    body = b"" if words[0] == "HEAD" else reply.body
    client.sendall("\r\n".join(headers).encode("latin-1") + b"\r\n\r\n" + body)
    # Read until EOF before closing: close(2) with unread data resets the connection, and the client loses the response.
    client.shutdown(socket.SHUT_WR)
    until = time.monotonic() + _GOODBYE_S
    client.settimeout(_left(until))
    while client.recv(65536):
        client.settimeout(_left(until))


def _left(until: float) -> float:
    """Return the seconds left until the deadline. Raise OSError when it has passed."""
    left = until - time.monotonic()
    if left <= 0:
        raise OSError("out of time")
    return left
