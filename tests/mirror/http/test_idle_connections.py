"""Waiting connections cost no thread, and no client can take all places."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.mirror.http.connection import network_of
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from tests.authority import authority, connect
from tests.guard.apps import until
from tests.mirror.http.held_server import ASK, HeldServer


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[HeldServer]:
    place = HeldServer(request.param)
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
def test_a_connection_without_a_request_costs_no_thread(place: HeldServer) -> None:
    before = threading.active_count()
    idle = [place.client() for _ in range(300)]
    assert until(lambda: place.server.crowd.waiting() == 300, 20)
    assert threading.active_count() <= before
    for one in (idle[0], idle[299], idle[0]):
        one.sendall(ASK)
        assert said(one) == b"200ok"
        assert until(lambda: place.server.crowd.waiting() == 300, 20)  # it waits again
    idle[5].close()
    assert until(lambda: len(place.server.crowd) == 299, 20)


@pytest.mark.parametrize("place", [ServerLimits(waiting=10)], indirect=True)
def test_the_client_with_the_most_waiting_connections_makes_room(place: HeldServer) -> None:
    many = [place.client(address="127.0.0.2") for _ in range(10)]
    assert until(lambda: place.server.crowd.waiting() == 10, 20)
    few = [place.client() for _ in range(5)]
    assert [one.recv(1) for one in many[:5]] == [b""] * 5
    for one in (*few, *many[5:]):
        one.sendall(ASK)
        assert said(one) == b"200ok"


@pytest.mark.parametrize("place", [ServerLimits(connections=10, head_s=0.3)], indirect=True)
def test_dripping_requests_cost_no_thread_and_are_closed(place: HeldServer) -> None:
    before = threading.active_count()
    dripping = [place.client(b"GET / HT", "127.0.0.2") for _ in range(30)]
    assert until(lambda: place.server.crowd.waiting() <= 10, 20)
    assert threading.active_count() <= before
    one = place.client(says=ASK[:9])
    one.sendall(ASK[9:])
    assert said(one) == b"200ok"
    with contextlib.suppress(ConnectionError):
        assert [late.recv(1) for late in dripping] == [b""] * 30


@pytest.mark.parametrize("place", [ServerLimits()], indirect=True)
def test_without_descriptors_a_waiting_connection_makes_room(place: HeldServer) -> None:
    waiting = [place.client() for _ in range(20)]
    assert until(lambda: place.server.crowd.waiting() == 20, 20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    late = [socket.socket() for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())), hard))
    try:
        for one in late:
            one.settimeout(20)
            one.connect(waiting[0].getpeername())
            one.sendall(ASK)
            assert said(one) == b"200ok"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in late:
            one.close()


@pytest.mark.parametrize("place", [ServerLimits(idle_s=0.1)], indirect=True)
def test_a_connection_that_waits_too_long_is_closed(place: HeldServer) -> None:
    one = place.client()
    assert one.recv(1) == b""


@pytest.mark.parametrize("place", [ServerLimits(connections=4)], indirect=True)
def test_a_client_with_all_places_makes_room_for_another(place: HeldServer) -> None:
    for _ in range(4):
        place.client(ASK.replace(b" / ", b" /slow "), "127.0.0.2")
    assert until(lambda: place.server.crowd.busy == 4, 20)
    assert said(place.client(ASK, "127.0.0.2"))[:3] == b"503"
    others = [place.client(ASK, "127.0.0.3"), place.client(ASK, "127.0.0.1")]
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
