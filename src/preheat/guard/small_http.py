"""Small HTTP: one request, one answer, goodbye; for a guard that is asked a few times a minute."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable, Tuple

_MOST_HEAD = 16 * 1024
_PATIENCE_S = 5.0
_AT_ONCE = threading.BoundedSemaphore(64)
_WORDS = {200: "OK", 302: "Found", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Answer:
    """What is answered; `headers` beside those that every answer has."""

    status: int
    kind: str
    body: bytes
    headers: Tuple[Tuple[str, str], ...] = ()


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address, of either family."""
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


def serve(listener: socket.socket, answer: Callable[[str, str], Answer]) -> Callable[[], None]:
    """Answer from a thread of its own, until what is returned is called."""
    closed = threading.Event()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                if closed.wait(0.05):
                    return
                continue  # too many files are open, for now
            answer_once(client, answer)

    def close() -> None:
        closed.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()

    threading.Thread(target=accept, name="status", daemon=True).start()
    return close


def answer_once(client: socket.socket, answer: Callable[[str, str], Answer]) -> None:
    """Answer one request from a thread of its own; at most 64 at once, further ones are hung up on."""
    if not _AT_ONCE.acquire(blocking=False):
        client.close()
        return

    def talk() -> None:
        try:
            with suppress(OSError, ValueError), client:
                _talk(client, answer)
        finally:
            _AT_ONCE.release()

    try:
        threading.Thread(target=talk, name="answer", daemon=True).start()
    except RuntimeError:
        _AT_ONCE.release()
        client.close()


def _talk(client: socket.socket, answer: Callable[[str, str], Answer]) -> None:
    client.settimeout(_PATIENCE_S)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _MOST_HEAD:
        more = client.recv(4096)
        if not more:
            return
        head += more
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/"):
        return
    said = answer(words[0], words[1].partition("?")[0])
    headers = [
        f"HTTP/1.1 {said.status} {_WORDS[said.status]}",
        f"Content-Type: {said.kind}; charset=utf-8",
        f"Content-Length: {len(said.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(f"{name}: {value}" for name, value in said.headers),
    ]
    body = b"" if words[0] == "HEAD" else said.body
    client.sendall("\r\n".join(headers).encode("latin-1") + b"\r\n\r\n" + body)
    # Hung up on with words of its own unread, a client would be told of a broken connection instead of this answer.
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):
        pass
