"""The port relay: one public port for changing instances."""

import http.client
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from preheat.guard.net.port_relay import Front
from preheat.guard.net.small_http import HttpReply
from tests.guard.apps import until


def waiting(method: str, path: str) -> HttpReply:
    return HttpReply(503, "text/html", b"<p>soon", (("Retry-After", "2"), ("X-Preheat", "waiting")))


@contextmanager
def fronting() -> Iterator[Front]:
    front = Front("127.0.0.1", 0, waiting)
    try:
        yield front
    finally:
        front.close()


@contextmanager
def echoing() -> Iterator[int]:
    """Send back all that is received, and shut down after the other side has."""
    server = socket.create_server(("127.0.0.1", 0))

    def echo(client: socket.socket) -> None:
        # Either side may reset the connection, also after the test that it belongs to.
        with client, suppress(OSError):
            while chunk := client.recv(65536):
                client.sendall(chunk)

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8192, reason="needs 5,000 open files")
def test_1024_clients_wait_for_an_idle_app_and_others_get_the_waiting_page() -> None:
    with echoing() as port, fronting() as front, ExitStack() as clients:
        assert front.hold()

        def client() -> socket.socket:
            return clients.enter_context(socket.create_connection(("127.0.0.1", front.port), 30))

        held = [client() for _ in range(1024)]
        extra = client()
        extra.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 503 " in extra.recv(4096)
        front.route(port)
        for number, one in enumerate(held):
            one.sendall(b"%d." % number)
            assert one.recv(4096) == b"%d." % number


def test_held_clients_are_served_by_an_app_that_lets_few_connections_wait() -> None:
    """As Python's http.server does: five."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as server, fronting() as front, ExitStack() as clients:
        clients.callback(server.shutdown, socket.SHUT_RDWR)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    one, _ = server.accept()
                    with one, suppress(OSError):
                        time.sleep(0.01)
                        one.sendall(b"hello")

        assert front.hold()
        address = ("127.0.0.1", front.port)
        held = [clients.enter_context(socket.create_connection(address, 30)) for _ in range(200)]
        assert until(front.holds_clients)
        threading.Thread(target=serve, daemon=True).start()
        front.route(server.getsockname()[1])
        assert {one.recv(4096) for one in held} == {b"hello"}


def test_until_an_instance_is_ready_every_request_gets_the_waiting_page() -> None:
    with fronting() as front:
        for method, body in (("GET", None), ("POST", b"x" * 300_000), ("HEAD", None)):
            connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=10)
            connection.request(method, "/any/where?q=1", body)
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert answer.read() == (b"" if method == "HEAD" else b"<p>soon")
            connection.close()


def test_bytes_pass_unchanged_in_both_directions_and_either_side_may_close_first() -> None:
    blob = os.urandom(5_000_000)
    with fronting() as front, echoing() as port:
        front.route(port)
        with socket.create_connection(("127.0.0.1", front.port), timeout=20) as client:

            def say_all() -> None:
                client.sendall(blob)
                client.shutdown(socket.SHUT_WR)

            speaker = threading.Thread(target=say_all)
            speaker.start()
            got = bytearray()
            while chunk := client.recv(1 << 16):
                got += chunk
            speaker.join()
        assert bytes(got) == blob
        assert until(lambda: front.connections(port) == 0)


def test_a_connection_stays_with_its_instance_and_new_ones_go_to_the_new_instance() -> None:
    with fronting() as front, echoing() as old, echoing() as new:
        front.route(old)
        with socket.create_connection(("127.0.0.1", front.port), timeout=10) as first:
            first.sendall(b"a")
            assert first.recv(1) == b"a"
            front.route(new)
            with socket.create_connection(("127.0.0.1", front.port), timeout=10) as second:
                second.sendall(b"b")
                assert second.recv(1) == b"b"
                assert (front.connections(old), front.connections(new)) == (1, 1)
                first.sendall(b"still")
                assert first.recv(5) == b"still"
        assert until(lambda: front.connections(old) == front.connections(new) == 0)


def test_many_connections_at_once_each_get_their_own_bytes() -> None:
    with fronting() as front, echoing() as port:
        front.route(port)
        clients = [socket.create_connection(("127.0.0.1", front.port), timeout=10) for _ in range(60)]
        for number, client in enumerate(clients):
            client.sendall(b"%03d" % number * 1000)
        for number, client in enumerate(clients):
            got = b""
            while len(got) < 3000:
                got += client.recv(4096)
            assert got == b"%03d" % number * 1000
            client.close()
        assert until(lambda: front.connections(port) == 0)


def test_a_request_for_an_instance_that_has_ended_gets_a_response() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with fronting() as front:
        front.route(port)
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 503
        connection.close()
        assert front.connections(port) == 0


def test_an_instance_that_resets_a_connection_resets_the_clients() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with fronting() as front, server:
        front.route(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", front.port), timeout=10) as client:
            behind, _ = server.accept()
            behind.close()
            assert client.recv(1) == b""
        assert until(lambda: front.connections(server.getsockname()[1]) == 0)


def test_a_client_that_does_not_read_does_not_fill_the_relays_memory() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    with fronting() as front, server:
        front.route(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", front.port), timeout=10):
            behind, _ = server.accept()
            with behind:
                behind.settimeout(0.5)
                sent = 0
                deadline = time.monotonic() + 20
                try:
                    while time.monotonic() < deadline:
                        sent += behind.send(b"x" * 65536)
                except TimeoutError:
                    pass
                # The kernel's four socket buffers, and 256 KiB of the relay.
                assert sent < 40_000_000
