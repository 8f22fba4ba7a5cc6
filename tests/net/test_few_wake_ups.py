"""A reader of a slow TLS connection is woken once for many records, and for the last of them."""

import socket
import threading
import time

from preheat.net.http import NetworkSettings, Transport
from tests.authority import authority
from tests.growth.counting import named_calls_of

_RECORD, _RECORDS, _BUFFER = 4_000, 250, 128 << 10
BODY = bytes(range(250)) * (_RECORD * _RECORDS // 250)


def _send_slowly(listening: socket.socket, arrived: threading.Event) -> None:
    plain, _ = listening.accept()
    with authority().context.wrap_socket(plain, server_side=True) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.recv(4096)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        for at in range(0, len(BODY), _RECORD):
            line.sendall(BODY[at : at + _RECORD])
            time.sleep(0.0005)
        arrived.wait(30)  # keep-alive, so that the body does not end with the connection


def test_a_slow_response_wakes_its_reader_rarely_and_arrives_completely() -> None:
    arrived = threading.Event()
    buffer, received = memoryview(bytearray(_BUFFER)), bytearray()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=_send_slowly, args=(listening, arrived))
        server.start()
        transport = Transport(NetworkSettings(ca_file=authority().ca_file, read_s=20))
        stream = transport.stream(f"https://127.0.0.1:{listening.getsockname()[1]}/", {})

        def read(until: int) -> None:
            while len(received) < until and (count := stream.readinto(buffer)):
                received.extend(buffer[:count])

        calls = named_calls_of(lambda: read(len(BODY) - 3 * _BUFFER))
        counted = len(received)
        read(len(BODY))
        arrived.set()
        stream.close()
        transport.close()
        server.join()
    assert bytes(received) == BODY
    # At most half of the buffer at a time, less a record of the largest size: about 5 for each buffer, not 32.
    assert calls["poll"] < 8 * counted / _BUFFER
