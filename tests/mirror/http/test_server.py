"""The server over real sockets: its responses, its limits, and what misbehaving clients cannot do."""

import contextlib
import http.client
import io
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path

import pytest

from preheat.core.errors import PreheatError
from preheat.core.events import Answered, Event, Serving
from preheat.mirror.api.folders import Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Flow, Request, Slice
from preheat.mirror.http.server import Server

WEIGHTS = os.urandom(3_000_000)


class Mirror:
    """A folder served as `acme/tiny`, and the server's events."""

    def __init__(self, folder: Path, pace: int | None = None, limits: ServerLimits = ServerLimits()) -> None:  # noqa: B008
        (folder / "weights.bin").write_bytes(WEIGHTS)
        (folder / "config.json").write_text("{}")
        self.events: list[Event] = []
        find = Shelf({"acme/tiny": folder}).find
        self.server = Server(("127.0.0.1", 0), partial(answer, find=find), self.events.append, pace, limits=limits)
        self.port = int(self.server.url.rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def say(self, words: bytes) -> bytes:
        """Send raw bytes, and read until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as raw:
            raw.sendall(words)
            raw.shutdown(socket.SHUT_WR)
            return b"".join(iter(partial(raw.recv, 65536), b""))

    def answered(self, count: int) -> list[Answered]:
        """Wait for that many Answered events: each follows the last byte."""
        deadline = time.monotonic() + 10
        while len(found := [event for event in self.events if isinstance(event, Answered)]) < count:
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        return found


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path)
    with mirror.server:
        yield mirror


def test_reports_where_it_serves_and_each_response(mirror: Mirror) -> None:
    connection = mirror.connect()
    connection.request("GET", "/acme/tiny/resolve/main/weights.bin", headers={"Range": "bytes=10-"})
    assert connection.getresponse().read() == WEIGHTS[10:]
    connection.request("HEAD", "/acme/tiny/resolve/main/config.json?download=1")
    connection.getresponse().read()
    connection.close()
    assert mirror.events[0] == Serving(mirror.server.url)
    first, second = mirror.answered(2)
    assert (first.client, first.method, first.status, first.sent) == ("127.0.0.1", "GET", 206, len(WEIGHTS) - 10)
    assert (second.method, second.path) == ("HEAD", "/acme/tiny/resolve/main/config.json?download=1")
    assert (second.status, second.sent) == (200, 0)
    assert first.seconds > 0


def test_one_connection_carries_many_responses(mirror: Mirror) -> None:
    connection = mirror.connect()
    sockets = set()
    for target, status in [
        ("/acme/tiny/resolve/main/config.json", 200),
        ("/acme/tiny/resolve/main/none", 404),
        ("/api/models/acme/tiny/tree/main", 200),
        ("/acme/tiny/resolve/main/weights.bin", 200),
    ]:
        connection.request("GET", target)
        sockets.add(connection.sock)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.request("POST", "/api/models/acme/tiny/paths-info/main", "paths=config.json")
    assert b"config.json" in connection.getresponse().read()
    sockets.add(connection.sock)
    connection.close()
    assert len(sockets) == 1


def test_many_clients_get_the_same_bytes_at_once(mirror: Mirror) -> None:
    bodies = []

    def get() -> None:
        connection = mirror.connect()
        connection.request("GET", "/acme/tiny/resolve/main/weights.bin")
        bodies.append(connection.getresponse().read())
        connection.close()

    clients = [threading.Thread(target=get) for _ in range(50)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(bodies) == 50
    assert all(body == WEIGHTS for body in bodies)


def test_a_client_that_disconnects_harms_no_other_and_is_counted_correctly(
    mirror: Mirror, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as raw:
        # Small buffers, so that most of the file is still on the server's side when the client leaves.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", mirror.port))
        raw.sendall(b"GET /acme/tiny/resolve/main/weights.bin HTTP/1.1\r\nHost: mirror\r\n\r\n")
        raw.recv(100)
    (left,) = mirror.answered(1)
    assert left.sent <= len(WEIGHTS)
    connection = mirror.connect()
    connection.request("GET", "/acme/tiny/resolve/main/config.json")
    assert connection.getresponse().read() == b"{}"
    connection.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET /a HTTP/9.9\r\nHost: a\r\n\r\n", b"505"),
        (b"BREW /a HTTP/1.1\r\nHost: a\r\n\r\n", b"501"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: a\r\n" * 200 + b"\r\n", b"431"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
    ],
)
def test_an_invalid_request_is_refused_and_reported(mirror: Mirror, words: bytes, status: bytes) -> None:
    assert mirror.say(words).split()[1] == status
    assert mirror.answered(1)[0].status == int(status)


def test_a_truncated_request_is_no_internal_error(mirror: Mirror, capfd: pytest.CaptureFixture[str]) -> None:
    assert mirror.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc") == b""
    assert mirror.say(b"GET / HTTP/1.1\r\nHo") != b"hang"
    assert mirror.say(b"") == b""
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "words", [b"\r\n", b"\r", b"\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 1\r\nHost: a\r\n\r\na\r\n"]
)
def test_an_empty_line_begins_a_request(tmp_path: Path, words: bytes) -> None:
    mirror = Mirror(tmp_path, limits=ServerLimits(idle_s=60.0, head_s=0.2))
    with mirror.server, socket.create_connection(("127.0.0.1", mirror.port), timeout=10) as raw:
        raw.sendall(words)
        while raw.recv(1000):
            pass


def test_empty_lines_before_a_request_are_ignored(mirror: Mirror) -> None:
    with socket.create_connection(("127.0.0.1", mirror.port), timeout=10) as raw:
        for piece in (b"\r", b"\n\r\n", b"\r\nHEAD /acme/tiny HTTP/1.1\r\nHost: a\r\n\r\n"):
            raw.sendall(piece)
            time.sleep(0.02)
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "words",
    [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost:", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na"],
)
def test_a_silent_client_is_disconnected(tmp_path: Path, words: bytes) -> None:
    mirror = Mirror(tmp_path, limits=ServerLimits(idle_s=0.2, head_s=0.2, body_s=0.2))
    with mirror.server, socket.create_connection(("127.0.0.1", mirror.port), timeout=10) as raw:
        raw.sendall(words)
        assert raw.recv(1) == b""


def test_a_dripping_request_head_is_not_waited_for(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path, limits=ServerLimits(head_s=0.3))
    with mirror.server, socket.create_connection(("127.0.0.1", mirror.port), timeout=10) as raw:
        since = time.monotonic()
        with contextlib.suppress(ConnectionError):
            for letter in b"GET /acme/tiny HTTP/1.1\r\nHost: " + b"a" * 1000:
                raw.sendall(bytes((letter,)))
                time.sleep(0.01)
        assert time.monotonic() - since < 5


@pytest.fixture
def large(tmp_path: Path) -> Callable[[Request], Answer]:
    """Respond to every request with 100 MB of zeros."""
    (tmp_path / "large.bin").touch()
    os.truncate(tmp_path / "large.bin", 100_000_000)
    whole = Answer(200, {"Content-Length": "100000000"}, Slice(tmp_path / "large.bin", 0, 100_000_000))
    return lambda request: whole


def test_a_client_that_receives_too_slowly_is_disconnected(
    large: Callable[[Request], Answer], capfd: pytest.CaptureFixture[str]
) -> None:
    told: queue.Queue[Event] = queue.Queue()
    with Server(("127.0.0.1", 0), large, told.put, limits=ServerLimits(least_rate=10_000_000, slow_s=0.3)) as server:
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in range(100):
                raw.recv(1000)  # some bytes, but too few
                time.sleep(0.01)
            assert isinstance(told.get(timeout=10), Serving)
            answered = told.get(timeout=10)
        assert isinstance(answered, Answered)
        assert 0 < answered.sent < 100_000_000
    assert capfd.readouterr().err == ""


class Dripping:
    """A file that arrives in small pieces, as from a slow upstream; `wait_s` between them."""

    def __init__(self, path: Path, size: int, wait_s: float) -> None:
        self._path = path
        self._size = size
        self._wait_s = wait_s

    verified = True

    def await_first(self, start: int, stop: int) -> int:
        return 0

    def pieces(self, start: int, stop: int, age: int) -> Generator[tuple[io.FileIO, int, int]]:
        with io.FileIO(self._path) as file:
            for at in range(start, stop, self._size):
                time.sleep(self._wait_s)
                yield file, at, min(stop, at + self._size)


@pytest.mark.parametrize(("size", "wait_s", "read", "whole"), [(16_384, 0.0, 1_000, False), (500, 0.03, 65_536, True)])
def test_small_pieces_do_not_hide_a_slow_client_and_a_slow_upstream_is_not_the_clients_fault(
    tmp_path: Path, size: int, wait_s: float, read: int, whole: bool
) -> None:
    (tmp_path / "flow").write_bytes(bytes(40_000_000 if not whole else 20_000))
    length = (tmp_path / "flow").stat().st_size
    flow = Flow(Dripping(tmp_path / "flow", size, wait_s), 0, length, 0)
    answer = Answer(200, {"Content-Length": str(length)}, flow)
    limits = ServerLimits(least_rate=5_000_000, slow_s=0.3)
    with (
        Server(("127.0.0.1", 0), lambda request: answer, lambda event: None, limits=limits) as server,
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as raw,
    ):
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        count, until = 0, time.monotonic() + (0 if whole else 1.5)
        with contextlib.suppress(ConnectionError):
            while data := raw.recv(read if time.monotonic() < until else 1_000_000):
                count += len(data)
                time.sleep(0.01 if time.monotonic() < until else 0)
    assert (count > length) == whole


def test_a_client_that_receives_fast_enough_is_kept(large: Callable[[Request], Answer]) -> None:
    with (
        Server(
            ("127.0.0.1", 0), large, lambda event: None, limits=ServerLimits(least_rate=1_000, slow_s=0.2)
        ) as server,
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10) as raw,
    ):
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        count = 0
        until = time.monotonic() + 1
        while data := raw.recv(20_000 if time.monotonic() < until else 1_000_000):
            count += len(data)
            time.sleep(0.005 if time.monotonic() < until else 0)
    assert count > 100_000_000


def test_http_1_0_clients_may_keep_the_connection_too(mirror: Mirror) -> None:
    ask = b"GET /acme/tiny/resolve/main/config.json HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    told = mirror.say(ask + ask)
    assert told.count(b"200 OK") == 2
    assert told.count(b"Connection: keep-alive") == 2


def test_stop_lets_a_running_response_finish_and_closes_idle_connections(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.server.start()
    idle, busy = mirror.connect(), mirror.connect()
    idle.request("GET", "/acme/tiny/resolve/main/config.json")
    idle.getresponse().read()
    busy.request("GET", "/acme/tiny/resolve/main/weights.bin")
    response = busy.getresponse()
    stopping = threading.Thread(target=mirror.server.stop)
    stopping.start()
    assert idle.sock.recv(1) == b""
    assert response.read() == WEIGHTS
    stopping.join(10)
    assert not stopping.is_alive()
    mirror.server.wait()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", mirror.port), timeout=5)
    idle.close()
    busy.close()


def test_stop_has_a_time_limit(large: Callable[[Request], Answer]) -> None:
    server = Server(("127.0.0.1", 0), large, lambda event: None)
    server.start()
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        raw.recv(10)
        since = time.monotonic()
        server.stop(patience_s=0.2)
        assert time.monotonic() - since < 5


def test_a_server_that_never_started_can_be_stopped(tmp_path: Path) -> None:
    Mirror(tmp_path).server.stop()


def test_a_removed_file_is_not_found_and_a_truncated_one_ends_the_connection(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"abc")

    def stale(request: Request) -> Answer:
        return Answer(200, {"Content-Length": "9"}, Slice(tmp_path / request.target.strip("/"), 0, 9))

    events: list[Event] = []
    with Server(("127.0.0.1", 0), stale, events.append) as server:
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=20)
        connection.request("GET", "/gone")
        response = connection.getresponse()
        response.read()
        assert response.status == 404
        connection.request("GET", "/short")
        with pytest.raises(http.client.IncompleteRead):
            connection.getresponse().read()
        connection.close()


def test_an_internal_error_is_a_500_and_keeps_its_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(request: Request) -> Answer:
        raise ZeroDivisionError("a bug")

    events: list[Event] = []
    with Server(("127.0.0.1", 0), broken, events.append) as server:
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]), timeout=20)
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        assert response.status == 500
        connection.close()
    assert "ZeroDivisionError: a bug" in capfd.readouterr().err


def test_a_taken_port_is_reported(mirror: Mirror) -> None:
    with pytest.raises(PreheatError, match="is already in use") as caught:
        Server(("127.0.0.1", mirror.port), lambda request: Answer(200, {}), lambda event: None)
    assert "another port" in caught.value.hint


@pytest.mark.parametrize("address", [("127.0.0.1", 70_000), ("192.0.2.1", 0), ("no such host", 0)])
def test_an_unavailable_address_is_reported(address: tuple[str, int]) -> None:
    with pytest.raises(PreheatError):
        Server(address, lambda request: Answer(200, {}), lambda event: None)


def test_serves_over_ipv6_too() -> None:
    try:
        server = Server(("::1", 0), lambda request: Answer(204, {}), lambda event: None)
    except PreheatError as error:
        pytest.skip(error.message)
    with server:
        assert server.url.startswith("http://[::1]:")
        connection = http.client.HTTPConnection("::1", int(server.url.rpartition(":")[2]), timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 204
        connection.close()


def test_the_pace_limits_each_connection(tmp_path: Path) -> None:
    try:
        mirror = Mirror(tmp_path, pace=2_000_000)
    except PreheatError as error:
        pytest.skip(error.message)
    with mirror.server:
        connection = mirror.connect()
        since = time.monotonic()
        connection.request("GET", "/acme/tiny/resolve/main/weights.bin")
        assert connection.getresponse().read() == WEIGHTS
        connection.close()
        # 3 MB at 2 MB/s; the kernel sends the first burst at once.
        assert 0.7 < time.monotonic() - since < 5


@pytest.mark.parametrize("pace", [0, -1, 2**70])
def test_an_unsupported_pace_is_reported(pace: int) -> None:
    with pytest.raises(PreheatError, match="cannot limit connections"):
        Server(("127.0.0.1", 0), lambda request: Answer(200, {}), lambda event: None, pace)
