"""Heads: many connections that each send a HEAD request as soon as the last one is answered; a light client.

    python -m benchmarks.heads URL CONNECTIONS SECONDS

One thread and epoll. Prints JSON: requests a second, and the median and 99th percentile of their milliseconds.
"""

import json
import select
import socket
import sys
import time
from urllib.parse import urlsplit


def heads(url: str, connections: int, within_s: float) -> dict[str, float]:
    """Send requests for `within_s` seconds; raise ConnectionError for an answer other than 200."""
    parts = urlsplit(url)
    fields = f"Host: {parts.netloc}\r\nUser-Agent: heads\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
    ask = f"HEAD {parts.path} HTTP/1.1\r\n{fields}\r\n".encode()
    waiting = select.epoll()
    open_ones: dict[int, socket.socket] = {}
    for _ in range(connections):
        one = socket.create_connection((str(parts.hostname), parts.port or 80), timeout=30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        open_ones[one.fileno()] = one
        waiting.register(one.fileno(), select.EPOLLIN)
    began = time.perf_counter()
    asked: dict[int, float] = {}
    for number, one in open_ones.items():
        asked[number] = time.perf_counter()
        one.sendall(ask)
    took: list[float] = []
    while (now := time.perf_counter()) < began + within_s:
        for number, _ in waiting.poll(30):
            told = open_ones[number].recv(65536)
            if not told.startswith(b"HTTP/1.1 200 ") or not told.endswith(b"\r\n\r\n"):
                raise ConnectionError(told[:80].decode("latin-1") or "the server left")
            now = time.perf_counter()
            took.append(now - asked[number])
            asked[number] = now
            open_ones[number].sendall(ask)
    for one in open_ones.values():
        one.close()
    took.sort()
    return {
        "rate": len(took) / (now - began),
        "median_ms": 1000 * took[len(took) // 2],
        "p99_ms": 1000 * took[int(len(took) * 0.99)],
    }


if __name__ == "__main__":
    print(json.dumps(heads(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
