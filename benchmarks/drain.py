"""Drain: many connections that ask for one address again and again, and throw away what comes; a light client.

    python -m benchmarks.drain URL CONNECTIONS ANSWERS

One thread and epoll; the kernel drops the bytes (MSG_TRUNC on TCP), so that the client costs as little as can be.
Prints JSON: bytes of body, seconds, milliseconds to the first byte of each connection's first answer, and what failed.
"""

import json
import re
import select
import socket
import sys
import time
from urllib.parse import urlsplit

_AT_ONCE = 1 << 20


class _Line:
    """One connection, and its response in progress."""

    def __init__(self, address: tuple[str, int], ask: bytes) -> None:
        self.socket = socket.create_connection(address, timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.first_s: float | None = None
        self._ask = ask
        self._head = b""
        self._left = 0

    def ask(self) -> None:
        self._asked = time.monotonic()
        self._head = b""
        self.socket.sendall(self._ask)
        self.socket.setblocking(False)

    def take(self, buffer: memoryview) -> tuple[int, bool]:
        """Read the available bytes; return the size of the body part, and whether the response is complete."""
        body = 0
        if not self._left:
            self._head += self.socket.recv(65536)
            if self.first_s is None:
                self.first_s = time.monotonic() - self._asked
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                if not self._head:
                    raise ConnectionError("the server left")
                return 0, False
            length = re.search(rb"(?i)content-length: *(\d+)", head)
            if not head.split(b" ")[1].startswith(b"20") or length is None:
                raise ConnectionError(head.partition(b"\r\n")[0].decode())
            self._left = int(length[1]) - len(rest)
            body += len(rest)
        while self._left:
            try:
                count = self.socket.recv_into(buffer, min(self._left, len(buffer)), socket.MSG_TRUNC)
            except BlockingIOError:
                return body, False
            if not count:
                raise ConnectionError("the answer was cut")
            body += count
            self._left -= count
        return body, True


def drain(url: str, connections: int, answers: int) -> dict[str, object]:
    """Send `answers` requests in total over the connections; return the counts."""
    parts = urlsplit(url)
    address = (str(parts.hostname), parts.port or 80)
    ask = f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n\r\n".replace("? ", " ")
    lines = {(line := _Line(address, ask.encode())).socket.fileno(): line for _ in range(min(connections, answers))}
    waiting = select.epoll()
    buffer = memoryview(bytearray(_AT_ONCE))
    began, size, to_ask, to_come = time.monotonic(), 0, answers - len(lines), answers
    failed: list[str] = []
    for number, line in lines.items():
        waiting.register(number, select.EPOLLIN)
        line.ask()
    while to_come:
        for number, _ in waiting.poll(60) or [(-1, 0)]:
            if number < 0:
                raise TimeoutError("nothing came for a minute")
            line = lines[number]
            try:
                body, whole = line.take(buffer)
            except OSError as error:
                failed.append(str(error))
                waiting.unregister(number)
                del lines[number]
                to_come = to_come - 1 if lines else 0
                continue
            size += body
            if whole:
                to_come -= 1
                if to_ask:
                    to_ask -= 1
                    line.ask()
    for line in lines.values():
        line.socket.close()
    first = sorted(line.first_s for line in lines.values() if line.first_s is not None)
    return {
        "bytes": size,
        "seconds": time.monotonic() - began,
        "first_ms": [round(1000 * value, 2) for value in (first[0], first[len(first) // 2], first[-1])]
        if first
        else [],
        "failed": failed,
    }


if __name__ == "__main__":
    print(json.dumps(drain(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
