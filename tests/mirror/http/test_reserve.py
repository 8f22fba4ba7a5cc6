"""When one client has taken all connections, the mirror's own pages are still answered, at the same address."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from preheat.library.library import Library
from preheat.mirror.api.folders import Shelf
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from preheat.mirror.status.status_routes import is_own
from preheat.verbs.mirror import House, mirror
from tests.authority import authority, connect
from tests.guard.apps import until

MOST = 4


def fetched(url: str, target: str) -> tuple[int, str]:
    client = connect(url)
    try:
        client.request("GET", target)
        answer = client.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Retry-After", "")
    finally:
        client.close()


@contextmanager
def taken(tls: ssl.SSLContext | None) -> Iterator[Server]:
    """A server whose connections all wait for their answer."""
    go_on = threading.Event()

    def answer(request: Request) -> Answer:
        if request.target == "/slow":
            go_on.wait(30)
        return Answer(200, {"Content-Length": "0"})

    limits = ServerLimits(connections=MOST)
    server = Server(("127.0.0.1", 0), answer, lambda _event: None, limits=limits, tls=tls, spared=is_own)
    with server, ExitStack() as clients:
        for _ in range(MOST):
            client = connect(server.url)
            clients.callback(client.close)
            client.request("GET", "/slow")
        assert until(lambda: server.crowd.busy == MOST, 20)
        yield server
        go_on.set()


@pytest.mark.parametrize("secure", [False, True])
def test_own_pages_are_answered_when_all_connections_are_taken(secure: bool) -> None:
    with taken(authority().context if secure else None) as server:
        for _ in range(40):
            assert fetched(server.url, "/livez") == (200, "")
        for target in ("/", "/index.html", "/status.json", "/metrics?x=1"):
            assert fetched(server.url, target)[0] == 200
        assert fetched(server.url, "/acme/tiny/resolve/main/config.json") == (503, "5")
        assert server.crowd.turned_away == 1
        assert server.crowd.busy == MOST


@pytest.mark.parametrize("secure", [False, True])
def test_connections_without_a_request_do_not_take_the_reserve(secure: bool) -> None:
    with taken(authority().context if secure else None) as server, ExitStack() as silent:
        port = int(server.url.rpartition(":")[2])
        for _ in range(60):
            client = silent.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            client.sendall(b"\x16\x03\x01\x02" if secure else b"GET /livez HTT")
        assert fetched(server.url, "/livez")[0] == 200


class Held:
    """A connection that waits for its answer."""

    client = "127.0.0.1"

    @property
    def wire(self) -> "Held":
        """See OpenConnection."""
        return self

    def hang_up(self) -> None:
        """See ClientLink."""

    def taking_rate(self) -> float | None:
        """See ClientLink."""
        return None


def test_a_mirror_reports_that_all_its_connections_are_taken(tmp_path: Path) -> None:
    Library(tmp_path / "library").prepare(0)
    house = House(limits=ServerLimits(connections=1))
    server = mirror(("127.0.0.1", 0), Library(tmp_path / "library"), Shelf({}), lambda _event: None, house=house)
    held = Held()
    with server:
        server.crowd.enter(held)
        with server.crowd.answering(held):
            assert fetched(server.url, "/livez")[0] == 200
            assert fetched(server.url, "/api/models/acme/tiny")[0] == 503
            client = connect(server.url)
            client.request("GET", "/metrics")
            metrics = client.getresponse().read().decode()
            client.close()
        server.crowd.leave(held)
    assert "turned_away_total 1" in metrics
