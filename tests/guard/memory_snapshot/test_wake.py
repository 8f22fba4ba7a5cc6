"""Nothing that a client sends is lost while an idle app is woken: uploads arrive whole, websockets stay open."""

import base64
import hashlib
import http.client
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.guard.apps import free_port, until
from tests.guard.memory_snapshot.frozen import Frozen, Supervised, needs_criu

pytestmark = [needs_criu, pytest.mark.slow]

# Answers an upload with its SHA-256, and a text message of a websocket (RFC 6455) with the same message.
SERVER = r"""
import base64, hashlib, http.server, struct, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        found, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            found.update(piece)
            left -= len(piece)
        self.answer(found.hexdigest().encode())
    def do_GET(self):
        key = self.headers.get("Sec-WebSocket-Key")
        if key is None:
            return self.answer(b"page")
        accepted = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accepted).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2 or head[0] & 15 == 8:
                return
            mask = self.rfile.read(4)
            body = bytes(one ^ mask[at % 4] for at, one in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(struct.pack("BB", 0x81, len(body)) + body)
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class WebSocket:
    """A client's end of a websocket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._read = self._socket.makefile("rb")
        assert b" 101 " in self._read.readline()
        while self._read.readline() != b"\r\n":
            pass

    def echo(self, text: bytes) -> bytes:
        """Send a message; return the next one."""
        mask = os.urandom(4)
        body = bytes(one ^ mask[at % 4] for at, one in enumerate(text))
        self._socket.sendall(struct.pack("BB", 0x81, 0x80 | len(text)) + mask + body)
        return self._read.read(self._read.read(2)[1])

    def close(self) -> None:
        """Close the connection."""
        self._read.close()
        self._socket.close()


@pytest.fixture
def frozen(tmp_path: Path) -> Frozen:
    made = Frozen(tmp_path, SERVER)
    made.idle_after_s = 1.0
    return made


def naps(app: Supervised, count: int = 1) -> bool:
    """Wait until the app has been idle `count` times."""
    return until(lambda: app.lives().count("idle") == count, 30)


def upload(port: int, size: int) -> bool:
    """Send random bytes; return whether the app received exactly them."""
    body = os.urandom(size)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    client.request("POST", "/", body)
    answered = client.getresponse().read().decode()
    client.close()
    return answered == hashlib.sha256(body).hexdigest()


def test_uploads_that_wake_an_app_arrive_whole(frozen: Frozen) -> None:
    port = free_port()
    with frozen.start(front=f"127.0.0.1:{port}") as app:
        assert naps(app), app.events
        with ThreadPoolExecutor(4) as clients:
            assert list(clients.map(lambda _: upload(port, 20_000_000), range(4))) == [True] * 4
        assert len(app.pids()) == 2, "all of them woke it once"
        assert naps(app, 2), app.events
        assert upload(port, 1), "it is woken again and again"


def test_a_websocket_wakes_an_app_and_keeps_it_from_being_idle(frozen: Frozen) -> None:
    port = free_port()
    with frozen.start(front=f"127.0.0.1:{port}") as app:
        assert naps(app), app.events
        client = WebSocket(port)
        assert client.echo(b"hello") == b"hello"
        assert not until(lambda: app.lives().count("idle") > 1, 4), "it is used for as long as the websocket is open"
        assert client.echo(b"still here") == b"still here"
        client.close()
        assert naps(app, 2), app.events
