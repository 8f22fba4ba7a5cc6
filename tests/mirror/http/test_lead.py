"""Short requests are served by one thread, one after the other; a request that waits keeps no other one waiting."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from preheat.mirror.http import lead
from preheat.mirror.http.lead import about_to_wait
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from tests.authority import authority, connect
from tests.mirror.http.held_server import ASK, TOLD, HeldServer

_SLOW, _WAITS = ASK.replace(b" / ", b" /slow "), ASK.replace(b" / ", b" /waits ")


class Desk(HeldServer):
    """A server whose `/slow` waits unannounced, and whose `/waits` announces it; it counts the threads that answer."""

    def __init__(self, limits: ServerLimits = ServerLimits()) -> None:  # noqa: B008 - frozen
        super().__init__(limits)
        self.threads: set[int] = set()
        self.server.start()

    def is_held(self, request: Request) -> bool:
        """See HeldServer."""
        self.threads.add(threading.get_ident())
        if request.target == "/waits":
            about_to_wait()
        return request.target != "/"


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def answers(client: socket.socket, count: int = 1) -> int:
    """Read so many answers; return how many came before the end."""
    told = b""
    while told.count(b"\r\n\r\nok") < count and (more := client.recv(65536)):
        told += more
    return told.count(b"\r\n\r\nok")


def test_many_clients_are_served_by_few_threads(desk: Desk) -> None:
    clients = [desk.client() for _ in range(60)]
    for _ in range(5):
        for one in clients:
            one.sendall(ASK)
        assert [answers(one) for one in clients] == [1] * 60
    # One, if this machine never stops it for longer than the server's patience.
    assert len(desk.threads) <= 2 + lead._MOST_PARKED


@pytest.mark.parametrize("ask", [_SLOW, _WAITS])
def test_a_request_that_waits_keeps_no_other_waiting(desk: Desk, ask: bytes) -> None:
    waiting = [desk.client(ask) for _ in range(20)]
    assert answers(desk.client(ASK)) == 1
    desk.go_on.set()
    assert [answers(one) for one in waiting] == [1] * 20
    for one in waiting:  # they are watched again
        one.sendall(ASK)
        assert answers(one) == 1


def test_a_request_behind_one_that_waits_is_answered_after_it(desk: Desk) -> None:
    one = desk.client(_WAITS + ASK * 50)
    assert answers(desk.client(ASK)) == 1
    desk.go_on.set()
    assert answers(one, 51) == 51
    one.sendall(ASK)
    assert answers(one) == 1


def test_half_a_request_behind_a_whole_one_has_the_deadline_of_a_head() -> None:
    desk = Desk(ServerLimits(head_s=0.2, idle_s=60.0))
    try:
        one = desk.client(ASK + ASK[:9])
        assert answers(one, 2) == 1  # then the server closes the connection
    finally:
        desk.close()


def test_a_server_stops_while_requests_wait(desk: Desk) -> None:
    waiting = [desk.client(_WAITS), desk.client(_SLOW)]
    deadline = time.monotonic() + 20
    while desk.server.crowd.busy < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    desk.server.stop(0.1)
    assert [one.recv(100) for one in waiting] == [b"", b""]


def test_a_server_stops_while_its_leading_thread_waits(desk: Desk) -> None:
    desk.client(_SLOW)
    while not desk.threads:
        time.sleep(0.0002)
    desk.server.stop(0.0)
    assert desk.server.crowd.busy == 1  # it did not wait for the end of that request


def test_requests_that_came_in_one_tls_record_are_all_answered() -> None:
    def answer(request: Request) -> Answer:
        return Answer(200, {"Content-Length": "2"}, TOLD)

    with Server(("127.0.0.1", 0), answer, lambda _event: None, tls=authority().context) as server:
        client = connect(server.url)
        client.connect()
        assert client.sock is not None
        client.sock.sendall(ASK * 300)
        assert answers(client.sock, 300) == 300
        client.close()
