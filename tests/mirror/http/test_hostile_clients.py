"""Hostile clients over real sockets: whatever they send, the mirror keeps serving and shows no internal error."""

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preheat.core.events import Answered, Event
from preheat.mirror.api.folders import Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server

_ASK = b"GET /acme/tiny/resolve/main/config.json HTTP/1.1\r\nHost: a\r\n\r\n"
_IMPATIENT = ServerLimits(idle_s=5, head_s=0.5, body_s=0.5)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a mirror that serves a folder, with short timeouts."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "config.json").write_text("{}")
    find = Shelf({"acme/tiny": folder}).find
    with Server(("127.0.0.1", 0), partial(answer, find=find), lambda event: None, limits=_IMPATIENT) as server:
        yield port_of(server)


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def say(port: int, words: bytes) -> bytes:
    """Send raw bytes, and read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        with contextlib.suppress(ConnectionError):
            raw.sendall(words)
            raw.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            return b"".join(iter(partial(raw.recv, 65536), b""))
    return b""


def statuses(told: bytes) -> list[int]:
    """Read successive responses, each by its Content-Length."""
    found = []
    while told:
        head, end, rest = told.partition(b"\r\n\r\n")
        assert end, told
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(fields["content-length"]) if status not in ("100", "304") else 0
        assert len(rest) >= length
        found.append(int(status))
        told = rest[length:]
    return found


_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1", b"POST /api/models HTTP/1.1", b"Host: a", b"PUT /x HTTP/1.0",
        b"GET /acme/tiny/resolve/main/config.json HTTP/1.1", b"Content-Length: 3", b"Content-Length: 99", b"abc", b"",
        b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Range: bytes=0-0,1-1", b"Connection: close", b" x",
        b"GET /acme/tiny/resolve/..%2f..%2fetc/passwd HTTP/1.1", b"Host: a\x00b", b"If-Range: x", b"Range: bytes=-0",
    ]
)  # fmt: skip
_TALK = st.lists(
    st.tuples(st.one_of(_LINES, st.binary(max_size=40)), st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r", b""])),
    max_size=12,
).map(lambda pieces: b"".join(line + end for line, end in pieces))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(talk=_TALK)
def test_any_bytes_get_a_valid_response_or_a_closed_connection(
    served: int, talk: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    assert 500 not in statuses(say(served, talk))
    assert statuses(say(served, _ASK)) == [200]
    assert capfd.readouterr().err == ""


def test_bytes_after_a_refusal_are_not_read_as_a_request(served: int) -> None:
    smuggled = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert statuses(say(served, smuggled + _ASK)) == [400]


def test_thousands_of_ranges_get_one_whole_response(served: int) -> None:
    ranges = ",".join(f"{at}-{at}" for at in range(1500))
    told = say(served, _ASK.replace(b"\r\n\r\n", f"\r\nRange: bytes={ranges}\r\n\r\n".encode()))
    assert statuses(told) == [200]
    assert told.endswith(b"\r\n\r\n{}")


def test_a_body_is_requested_with_100_continue_and_awaited_for_a_limited_time(served: int) -> None:
    asked = b"POST /api/models/acme/tiny/paths-info/main HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
    with socket.create_connection(("127.0.0.1", served), timeout=10) as raw:
        raw.sendall(asked + b"Content-Length: 17\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"paths=config.json")
        assert b"200 OK" in raw.recv(10_000)


class Busy:
    """A server that takes a long time for requests to `/slow`."""

    def __init__(self, most: int) -> None:
        self.go_on = threading.Event()
        self.events: list[Event] = []
        limits = ServerLimits(connections=most, idle_s=20)
        self.server = Server(("127.0.0.1", 0), self._answer, self.events.append, limits=limits)
        self.port = port_of(self.server)

    def _answer(self, request: Request) -> Answer:
        if request.target == "/slow":
            self.go_on.wait(20)
        return Answer(200, {"Content-Length": "2"}, b"ok")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def until_busy(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while self.server.crowd.busy < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_with_all_connections_busy_another_request_gets_503() -> None:
    busy = Busy(2)
    with busy.server:
        clients = [busy.connect() for _ in range(2)]
        for client in clients:
            client.request("GET", "/slow")
        busy.until_busy(2)
        late = busy.connect()
        late.request("GET", "/")
        response = late.getresponse()
        response.read()
        assert response.status == 503
        assert response.headers["Retry-After"] == "5"
        busy.go_on.set()
        assert [client.getresponse().read() for client in clients] == [b"ok", b"ok"]
        late.close()
        for client in clients:
            client.close()
    assert busy.server.crowd.turned_away == 1
    assert [event.status for event in busy.events if isinstance(event, Answered)].count(503) == 1


def test_silent_connections_do_not_block_other_clients() -> None:
    busy = Busy(4)
    with busy.server:
        silent = [socket.create_connection(("127.0.0.1", busy.port), timeout=10) for _ in range(8)]
        for one in silent:
            one.sendall(b"GET / HTTP")
        for _ in range(6):
            client = busy.connect()
            client.request("GET", "/")
            assert client.getresponse().read() == b"ok"
            client.close()
        assert silent[0].recv(1) == b""  # too many connections have begun a request
        for one in silent:
            one.close()


def test_a_client_that_disconnects_leaves_nothing_behind() -> None:
    busy = Busy(100)
    with busy.server:
        for _ in range(200):
            socket.create_connection(("127.0.0.1", busy.port)).close()
        deadline = time.monotonic() + 10
        while len(busy.server.crowd):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_header_value_cannot_start_a_new_line(tmp_path: Path) -> None:
    def split(request: Request) -> Answer:
        return Answer(200, {"Content-Length": "0", "X-Repo": "a\r\nSet-Cookie: b"})

    with Server(("127.0.0.1", 0), split, lambda event: None) as server:
        told = say(port_of(server), _ASK)
    assert b"\r\nSet-Cookie" not in told
    assert b"X-Repo: a??Set-Cookie: b\r\n" in told
