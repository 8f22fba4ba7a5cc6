"""Line: a relay in front of a hub, with a delay for new connections, that can be cut and restored."""

import contextlib
import socket
import threading
import time
from typing import Self
from urllib.parse import urlsplit

_PIECE = 64 << 10


class Line:
    """Relays TCP between clients and the hub at `url`, between `with` and its end; TLS passes through as it is.

    Each connection begins `opens_after_s` late. `sent` counts the bytes sent to clients.
    """

    def __init__(self, url: str, opens_after_s: float = 0.0) -> None:
        parts = urlsplit(url)
        self._hub = (str(parts.hostname), int(parts.port or 443))
        self._opens_after_s = opens_after_s
        self._turn = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self._flows = threading.Event()
        self._flows.set()
        self.sent = 0
        self.opened = 0
        self._address = ("127.0.0.1", 0)
        self.restore()
        self.url = f"{parts.scheme}://127.0.0.1:{self._address[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cut()

    def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        with self._turn:
            listening, self._listening = self._listening, None
        if listening is not None:
            _hang_up(listening)
        self.hang_up()

    def hang_up(self) -> None:
        """Reset all connections."""
        with self._turn:
            ends, self._ends = self._ends, set()
        for end in ends:
            _hang_up(end)

    def freeze(self) -> None:
        """Pass no bytes on and accept nothing, like a connection whose packets are lost."""
        self._flows.clear()

    def thaw(self) -> None:
        """Pass on the waiting bytes again."""
        self._flows.set()

    def restore(self) -> None:
        """Accept connections again, at the same address."""
        listening = socket.create_server(self._address, backlog=512)
        self._address = listening.getsockname()
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError), listening:
            while True:
                client, _ = listening.accept()
                with self._turn:
                    if self._listening is not listening:
                        client.close()
                        return
                    self._ends.add(client)
                    self.opened += 1
                threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        time.sleep(self._opens_after_s)
        self._flows.wait()
        with client, contextlib.suppress(OSError), socket.create_connection(self._hub) as hub:
            with self._turn:
                if client not in self._ends:
                    return
                self._ends.add(hub)
            there = threading.Thread(target=_pump, args=(client, hub), daemon=True)
            there.start()
            self._back(hub, client)
            there.join()
            with self._turn:
                self._ends.discard(hub)
        with self._turn:
            self._ends.discard(client)

    def _back(self, hub: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := hub.recv(_PIECE):
                self._flows.wait()
                client.sendall(piece)
                with self._turn:
                    self.sent += len(piece)
        _end(client)


def _pump(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := one.recv(_PIECE):
            other.sendall(piece)
    _end(other)


def _end(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_WR)


def _hang_up(line: socket.socket) -> None:
    """Wake the threads that wait for it; they close it, which resets it."""
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
