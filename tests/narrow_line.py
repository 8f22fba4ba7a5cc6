"""Narrow line: a relay in front of a hub with a bottleneck for all its connections, and a queue before it."""

import contextlib
import socket
import threading
import time
from collections import deque
from typing import Self
from urllib.parse import urlsplit

_PIECE = 8 << 10


class NarrowLine:
    """Relays TCP to the hub at `url`: what it sends shares `rate` bytes/s, and waits up to `queue_s` in one queue.

    What clients send arrives after `round_trip_s`. `sent` counts what passed the bottleneck, also for clients that have
    hung up meanwhile. Use it inside a `with`.
    """

    def __init__(self, url: str, rate: float, queue_s: float, round_trip_s: float = 0.0) -> None:
        parts = urlsplit(url)
        self._hub = (str(parts.hostname), int(parts.port or 443))
        self._rate, self._most, self._round_trip_s = rate, max(rate * queue_s, 2 * _PIECE), round_trip_s
        self._changed = threading.Condition()
        self._queue: deque[tuple[socket.socket, bytes]] = deque()
        self._queued = 0
        self._ended = False
        self.sent = self.opened = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"{parts.scheme}://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        for work in (self._accept, self._carry):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.opened += 1
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), socket.create_connection(self._hub) as hub:
            threading.Thread(target=self._up, args=(client, hub), daemon=True).start()
            while piece := hub.recv(_PIECE):
                with self._changed:
                    self._changed.wait_for(lambda: self._queued < self._most or self._ended)
                    self._queue.append((client, piece))
                    self._queued += len(piece)
                    self._changed.notify_all()
        with self._changed:
            self._queue.append((client, b""))
            self._changed.notify_all()

    def _up(self, client: socket.socket, hub: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(_PIECE):
                time.sleep(self._round_trip_s)
                hub.sendall(piece)
        with contextlib.suppress(OSError):
            hub.shutdown(socket.SHUT_RDWR)

    def _carry(self) -> None:
        """Pass on one piece after the other, each at its time."""
        free_at = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ended)
                if self._ended:
                    while self._queue:
                        self._queue.popleft()[0].close()
                    return
                client, piece = self._queue.popleft()
                self._queued -= len(piece)
                self._changed.notify_all()
            free_at = max(free_at, time.monotonic() - 0.02) + len(piece) / self._rate
            time.sleep(max(free_at - time.monotonic(), 0.0))
            self.sent += len(piece)
            with contextlib.suppress(OSError):
                client.sendall(piece) if piece else client.close()
