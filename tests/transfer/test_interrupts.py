"""Interrupting a read over TLS never yields wrong bytes, and a slow hub is waited for without waste."""

import contextlib
import random
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from preheat.core.errors import HubError
from preheat.mirror.access.certificate import own, place
from preheat.net.http import NetworkSettings, Transport
from preheat.net.interrupt import Interrupt

BODY = random.Random(7).randbytes(4 << 20)


class _Drips(BaseRequestHandler):
    """A server that sends the body in pieces of random sizes with pauses between them."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" in self.request.recv(65536):
                time.sleep(random.random() * 0.005)
                self.request.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode())
                at = 0
                while at < len(BODY):
                    step = random.randrange(1, 60_000)
                    self.request.sendall(BODY[at : at + step])
                    at += step
                    if random.random() < 0.2:
                        time.sleep(0.001)


class _Server(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _Drips)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: clients of this test disconnect."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with _Server(own(tmp_path, ["127.0.0.1"])) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}/x", place(tmp_path)
        server.shutdown()


def _read_until_interrupted(transport: Transport, url: str, interrupt: Interrupt) -> bytes:
    """Return the bytes read before the interruption, or all."""
    got = bytearray()
    buffer = memoryview(bytearray(1 << 16))
    with interrupt.guarding():
        try:
            stream = transport.stream(url, {})
        except HubError:
            return b""
        try:
            while count := stream.readinto(buffer):
                got += buffer[:count]
        except HubError:
            pass
        finally:
            stream.close()
    return bytes(got)


@pytest.mark.slow
def test_a_thousand_interruptions_over_tls_never_yield_wrong_bytes(served: tuple[str, Path]) -> None:
    url, certificate = served
    transport = Transport(NetworkSettings(ca_file=certificate))
    complete = 0
    for number in range(1000):
        interrupt = Interrupt()
        timer = threading.Timer(random.random() * 0.06, interrupt.set)
        timer.start()
        got = _read_until_interrupted(transport, url, interrupt)
        timer.cancel()
        timer.join()
        interrupt.close()
        assert got == BODY[: len(got)], f"wrong bytes at interruption {number}"
        complete += len(got) == len(BODY)
    assert complete < 1000
    transport.close()


def test_an_interrupt_reaches_a_request_that_waits_for_its_first_byte(served: tuple[str, Path]) -> None:
    url, certificate = served
    transport = Transport(NetworkSettings(ca_file=certificate))
    interrupt = Interrupt()
    interrupt.set()
    assert _read_until_interrupted(transport, url, interrupt) == b""
    interrupt.clear()
    assert _read_until_interrupted(transport, url, interrupt) == BODY
    interrupt.close()
    transport.close()
