"""Waiting connections cost no thread, and no client can take all places."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from preheat.mirror.http.connection import network_of
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from tests.authority import authority, connect
from tests.guard.apps import until

_ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Place:
    """A server whose `/slow` waits, and clients at several addresses of this machine."""

    def __init__(self, limits: ServerLimits) -> None:
        self.go_on = threading.Event()
        self._clients = ExitStack()
        self.server = Server(("127.0.0.1", 0), self._answer, lambda _event: None, limits=limits)
        self._port = int(self.server.url.rpartition(":")[2])

    def _answer(self, request: Request) -> Answer:
        if request.target == "/slow":
            self.go_on.wait(20)
        return Answer(200, {"Content-Length": "2"}, b"ok")

    def client(self, address: str = "127.0.0.1", says: bytes = b"") -> socket.socket:
        one = self._clients.enter_context(socket.socket())
        one.bind((address, 0))
        one.settimeout(20)
        one.connect(("127.0.0.1", self._port))
        one.sendall(says)
        return one

    def close(self) -> None:
        self.go_on.set()
        self._clients.close()
        self.server.stop(0.2)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    place = Place(request.param)
    place.server.start()
    yield place
    place.close()


def said(client: socket.socket) -> bytes:
    """Read a response, without the header fields."""
    told = b""
    with contextlib.suppress(OSError):
        while not told.endswith(b"ok") and (more := client.recv(4096)):
            told += more
    return told[9:12] + told[-2:]


@pytest.mark.parametrize("place", [ServerLimits(connections=4)], indirect=True)
def test_a_connection_without_a_request_costs_no_thread(place: Place) -> None:
    before = threading.active_count()
    idle = [place.client() for _ in range(300)]
    assert until(lambda: place.server.crowd.waiting() == 300, 20)
    assert threading.active_count() <= before
    for one in (idle[0], idle[299], idle[0]):
        one.sendall(_ASK)
        assert said(one) == b"200ok"
        assert until(lambda: place.server.crowd.waiting() == 300, 20)  # it waits again
    idle[5].close()
    assert until(lambda: len(place.server.crowd) == 299, 20)


@pytest.mark.parametrize("place", [ServerLimits(waiting=10)], indirect=True)
def test_the_client_with_the_most_waiting_connections_makes_room(place: Place) -> None:
    many = [place.client("127.0.0.2") for _ in range(10)]
    assert until(lambda: place.server.crowd.waiting() == 10, 20)
    few = [place.client() for _ in range(5)]
    assert [one.recv(1) for one in many[:5]] == [b""] * 5
    for one in (*few, *many[5:]):
        one.sendall(_ASK)
        assert said(one) == b"200ok"


@pytest.mark.parametrize("place", [ServerLimits(connections=10, head_s=0.3)], indirect=True)
def test_dripping_requests_cost_no_thread_and_are_closed(place: Place) -> None:
    before = threading.active_count()
    dripping = [place.client("127.0.0.2", b"GET / HT") for _ in range(30)]
    assert until(lambda: place.server.crowd.waiting() <= 10, 20)
    assert threading.active_count() <= before
    one = place.client(says=_ASK[:9])
    one.sendall(_ASK[9:])
    assert said(one) == b"200ok"
    with contextlib.suppress(ConnectionError):
        assert [late.recv(1) for late in dripping] == [b""] * 30


@pytest.mark.parametrize("place", [ServerLimits()], indirect=True)
def test_without_descriptors_a_waiting_connection_makes_room(place: Place) -> None:
    waiting = [place.client() for _ in range(20)]
    assert until(lambda: place.server.crowd.waiting() == 20, 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    late = [socket.socket() for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())), hard))
    try:
        for one in late:
            one.settimeout(20)
            one.connect(waiting[0].getpeername())
            one.sendall(_ASK)
            assert said(one) == b"200ok"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in late:
            one.close()


@pytest.mark.parametrize("place", [ServerLimits(idle_s=0.1)], indirect=True)
def test_a_connection_that_waits_too_long_is_closed(place: Place) -> None:
    one = place.client()
    assert one.recv(1) == b""


@pytest.mark.parametrize("place", [ServerLimits(connections=4)], indirect=True)
def test_a_client_with_all_places_makes_room_for_another(place: Place) -> None:
    for _ in range(4):
        place.client("127.0.0.2", _ASK.replace(b" / ", b" /slow "))
    assert until(lambda: place.server.crowd.busy == 4, 20)
    assert said(place.client("127.0.0.2", _ASK))[:3] == b"503"
    others = [place.client("127.0.0.3", _ASK), place.client("127.0.0.1", _ASK)]
    assert [said(one) for one in others] == [b"200ok"] * 2
    assert place.server.crowd.busy >= 2  # no more were disconnected than necessary


def test_a_tls_connection_is_served_after_it_has_waited() -> None:
    def answer(request: Request) -> Answer:
        return Answer(200, {"Content-Length": "2"}, b"ok")

    with Server(("127.0.0.1", 0), answer, lambda _event: None, tls=authority().context) as server:
        client = connect(server.url)
        for _ in range(2):
            client.request("GET", "/")
            assert client.getresponse().read() == b"ok"
            assert until(lambda: server.crowd.waiting() == 1, 20)
        client.close()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", ""),
    ],
)
def test_an_address_belongs_to_its_network(address: str, network: str) -> None:
    assert network_of(address) == network
