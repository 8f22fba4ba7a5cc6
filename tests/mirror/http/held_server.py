"""Held server: a server whose answers a test may hold back, and its clients."""

import socket
import threading
from contextlib import ExitStack

from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
TOLD = b"ok"


class HeldServer:
    """A server that holds back the answers that `is_held` names until `go_on` is set, and clients at any address."""

    def __init__(self, limits: ServerLimits = ServerLimits()) -> None:  # noqa: B008 - frozen
        self.go_on = threading.Event()
        self._clients = ExitStack()
        self.server = Server(("127.0.0.1", 0), self._answer, lambda _event: None, limits=limits)
        self._port = int(self.server.url.rpartition(":")[2])

    def is_held(self, request: Request) -> bool:
        """Return whether a request waits; called by the thread that answers it."""
        return request.target == "/slow"

    def _answer(self, request: Request) -> Answer:
        if self.is_held(request):
            self.go_on.wait(20)
        return Answer(200, {"Content-Length": str(len(TOLD))}, TOLD)

    def client(self, says: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
        """Connect from an address of this machine, and send something."""
        one = self._clients.enter_context(socket.socket())
        one.bind((address, 0))
        one.settimeout(20)
        one.connect(("127.0.0.1", self._port))
        one.sendall(says)
        return one

    def close(self) -> None:
        """Let all answers go, and stop."""
        self.go_on.set()
        self._clients.close()
        self.server.stop(0.2)
