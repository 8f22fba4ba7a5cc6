"""A response that is cut off or invalid is reported as that, and no host that has answered is said to be down."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from preheat.core.errors import HubUnavailable
from preheat.net.http import NetworkSettings, Transport

CUT = "closed the connection before the end of its response"
INVALID = "answers with invalid HTTP"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
RESPONSES = {
    "a status line": (b"HTTP/1.1 200", CUT),
    "a header": (OK + b"Conte", CUT),
    "the headers": (OK + b"Content-Length: 5\r\n", CUT),
    "a body": (OK + b"Content-Length: 500\r\n\r\n{", CUT),
    "a chunk": (CHUNKED + b"5\r\nab", CUT),
    "the chunks": (CHUNKED + b"2\r\nab\r\n", CUT),
    "the size of a chunk": (CHUNKED + b"5", CUT),
    "no number": (CHUNKED + b"ZZZ\r\n", INVALID),
    "a negative size": (CHUNKED + b"-1\r\n", INVALID),
    "a size in Python's form": (CHUNKED + b"0x2\r\nab\r\n0\r\n\r\n", INVALID),
    "a huge size": (CHUNKED + b"9" * 5_000 + b"\r\n", INVALID),
    "a negative length": (OK + b"Content-Length: -5\r\n\r\n", INVALID),
    "no length": (OK + b"Content-Length: five\r\n\r\n", INVALID),
    "a huge length": (OK + b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n", INVALID),
    "two lengths": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", INVALID),
    "another protocol": (b"SSH-2.0-x\r\n", INVALID),
}
VALID = {
    "chunks": CHUNKED + b"2;a=b\r\nab\r\n1 \r\nc\r\n0\r\n\r\n",
    "one length twice": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "no length": OK + b"Connection: close\r\n\r\nabc",
    "lines without a carriage return": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
}


@pytest.fixture
def served() -> Iterator[Callable[[bytes], str]]:
    """Serve bytes to each client, and close the connection."""
    listening = socket.create_server(("127.0.0.1", 0))
    said: list[bytes] = [b""]

    def serve() -> None:
        while True:
            try:
                accepted, _ = listening.accept()
            except OSError:
                return
            with accepted, contextlib.suppress(OSError):
                accepted.recv(65_536)
                accepted.sendall(said[0])

    def at(response: bytes) -> str:
        said[0] = response
        return f"http://127.0.0.1:{listening.getsockname()[1]}/x"

    threading.Thread(target=serve, daemon=True).start()
    yield at
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.mark.parametrize("case", RESPONSES)
def test_a_response_that_is_cut_off_or_invalid_is_named(served: Callable[[bytes], str], case: str) -> None:
    response, words = RESPONSES[case]
    with pytest.raises(HubUnavailable, match=words) as caught:
        Transport(NetworkSettings()).get(served(response), {})
    assert caught.value.answered
    assert "reachable" not in caught.value.hint


@pytest.mark.parametrize("case", VALID)
def test_valid_forms_are_read(served: Callable[[bytes], str], case: str) -> None:
    assert Transport(NetworkSettings()).get(served(VALID[case]), {}).body == b"abc"


def test_a_connection_without_a_response_is_no_answer(served: Callable[[bytes], str]) -> None:
    with pytest.raises(HubUnavailable, match=r"without a response|reset") as caught:
        Transport(NetworkSettings()).get(served(b""), {})
    assert not caught.value.answered
