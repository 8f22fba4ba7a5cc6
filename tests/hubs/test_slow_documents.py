"""A document that drips ends with an error; one that is merely slow does not."""

import contextlib
import socket
import threading
import time

import pytest

from preheat.core.errors import HubUnavailable
from preheat.net.http import NetworkSettings, Transport
from tests.authority import authority, trusting


def served(size: int, pause_s: float) -> str:
    """Serve one response a byte at a time; return its address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as client:
            try:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size):
                    client.sendall(b"x")
                    time.sleep(pause_s)
            except OSError:
                pass  # the client has given up, as it should

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_a_dripping_document_is_abandoned() -> None:
    transport = Transport(NetworkSettings(document_s=0.3))
    with pytest.raises(HubUnavailable, match="too slowly"):
        transport.get(served(1_000_000, 0.05), {})
    transport.close()


@pytest.mark.parametrize("secured", [True, False])
def test_dripping_headers_are_abandoned(secured: bool) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), listening:
            client = listening.accept()[0]
            with authority().context.wrap_socket(client, server_side=True) if secured else client as line:
                line.recv(4096)
                line.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while True:
                    line.sendall(b"x")
                    time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    transport = Transport(trusting(NetworkSettings(read_s=0.5)))
    with pytest.raises(HubUnavailable, match="in time"):
        transport.get(f"{'https' if secured else 'http'}://127.0.0.1:{listening.getsockname()[1]}/", {})
    transport.close()


def test_a_slow_document_that_is_complete_in_time_is_read() -> None:
    transport = Transport(NetworkSettings())
    assert transport.get(served(20, 0.01), {}).body == b"x" * 20
    transport.close()
