"""A mirror that runs for long: thousands of requests of all kinds leave no trace."""

import contextlib
import http.client
import random
import signal
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from tests.authority import connect, trust
from tests.command import Preheat
from tests.mirroring import mirroring

pytestmark = pytest.mark.slow

_CLIENTS, _REQUESTS = 6, 250
_MODEL = "/acme/tiny/resolve/main"


def status(pid: int, field: str) -> int:
    """Read a figure from /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


class Client(threading.Thread):
    """A client that sends random requests, and records wrong responses."""

    def __init__(self, url: str, weights: bytes, seed: int) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._weights = weights
        self._choose = random.Random(seed)
        self.wrong: list[str] = []

    def run(self) -> None:
        connection = connect(self._url, 60)
        for _ in range(_REQUESTS):
            what = self._choose.choice(
                ("range", "range", "head", "listing", "page", "none", "whole", "leaves", "noise")
            )
            try:
                self._one(what, connection)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(f"{what}: {error!r}")
                connection.close()
        connection.close()

    def _one(self, what: str, connection: http.client.HTTPConnection) -> None:
        match what:
            case "range":
                start = self._choose.randrange(len(self._weights))
                stop = min(len(self._weights), start + self._choose.randrange(1, 200_000))
                body = self._get(connection, f"{_MODEL}/model.safetensors", 206, Range=f"bytes={start}-{stop - 1}")
                self._note(body == self._weights[start:stop], what)
            case "whole":
                self._note(self._get(connection, f"{_MODEL}/model.safetensors", 200) == self._weights, what)
            case "head":
                connection.request("HEAD", f"{_MODEL}/model.safetensors")
                answer = connection.getresponse()
                self._note(answer.read() == b"" and answer.headers["Content-Length"] == str(len(self._weights)), what)
            case "listing":
                self._note(b"siblings" in self._get(connection, "/api/models/acme/tiny", 200), what)
            case "page":
                self._note(b"<main>" in self._get(connection, "/", 200, Accept="text/html"), what)
            case "none":
                self._get(connection, f"{_MODEL}/nowhere", 404)
            case "leaves":
                self._say(f"GET {_MODEL}/model.safetensors HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            case _:
                self._say(self._choose.randbytes(self._choose.randrange(200)) + b"\r\n\r\n")

    def _get(self, connection: http.client.HTTPConnection, path: str, wanted: int, **fields: str) -> bytes:
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        body = answer.read()
        self._note(answer.status == wanted, f"{path}: {answer.status}")
        return body

    def _say(self, words: bytes) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError), self._raw() as raw:
            raw.sendall(words)
            raw.recv(1000)

    def _raw(self) -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", int(self._url.rpartition(":")[2])))
        # Half of the requests are plain HTTP.
        return raw if self._choose.random() < 0.5 else trust().wrap_socket(raw, server_hostname="127.0.0.1")

    def _note(self, right: bool, what: str) -> None:
        if not right:
            self.wrong.append(what)


def test_thousands_of_requests_leave_it_unchanged(preheat: Preheat, model: Path) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    mirror, url = mirroring(preheat, "-q", "--size-cap", "1G")
    pid, weights = mirror.process.pid, (model / "model.safetensors").read_bytes()

    def storm(seed: int) -> None:
        clients = [Client(url, weights, seed + number) for number in range(_CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert [wrong for client in clients for wrong in client.wrong] == []

    quiet = open_files(pid)
    storm(0)
    settled = status(pid, "VmRSS")
    storm(1000)
    assert status(pid, "VmRSS") - settled < 20_000
    assert status(pid, "VmHWM") < 200_000
    deadline = time.monotonic() + 20
    while open_files(pid) > quiet or status(pid, "Threads") > 5:
        assert time.monotonic() < deadline, (open_files(pid), quiet, status(pid, "Threads"))
        time.sleep(0.05)
    told = mirror.kill(signal.SIGTERM)
    assert told.status == 0
    assert told.err == ""
