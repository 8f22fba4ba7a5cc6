"""Final response: the same headers as the standard library's, for any bytes."""

import http.client
import io
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from preheat.net.final_response import FinalResponse, read_headers
from tests.growth.counting import calls_of


def _file(sent: bytes) -> Any:
    return io.BufferedReader(io.BytesIO(sent))


_PIECES = st.sampled_from(
    [b"a", b"Name", b": ", b":", b"\r\n", b"\n", b"\r", b" ", b"\t", b"\xe9", b"\0", b"\x0b", b"x: y\r\n", b"(", b","]
)
USUAL = b"".join(b"Name-%d: value %d\r\n" % (number, number) for number in range(12)) + b"\r\n"


@given(st.lists(_PIECES, max_size=12).map(b"".join))
@example(b"\r\nbody\r\n\r\n")
@example(b"\nbody\n\r\n")
@example(b"a b: c\r\n\r\nbody")
@example(b"a: b\n\nbody: c\r\n\r\n")
@example(b"a: b\r\n c\r\n\r\n")
@example(b"a: b")
def test_headers_are_those_of_the_standard_library(sent: bytes) -> None:
    ours, theirs = _file(sent), _file(sent)
    assert read_headers(ours).items() == http.client.parse_headers(theirs).items()
    assert ours.read() == theirs.read()


@pytest.mark.parametrize("sent", [b"a: b\r\n" * 101 + b"\r\n", b"a: " + b"b" * 70_000 + b"\r\n\r\n"])
def test_endless_headers_are_an_error(sent: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        read_headers(_file(sent))


class _Socket:
    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def makefile(self, _: str) -> Any:
        return _file(self._sent)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: Close\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.2 404 Not Found\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/2 200 OK\r\n\r\n",
        b"SPAM\r\n\r\n",
        b"",
    ],
)
def test_a_response_begins_like_one_of_the_standard_library(sent: bytes, method: str) -> None:
    def begun(kind: Any) -> object:
        response = kind(_Socket(sent), method=method)
        try:
            response.begin()
            look = (response.status, response.reason, response.version, response.length, response.will_close)
            return *look, response.chunked, response.headers.items(), response.read()
        except http.client.HTTPException as error:
            return type(error)

    assert begun(FinalResponse) == begun(http.client.HTTPResponse)


def test_interim_responses_are_skipped() -> None:
    sent = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    socket: Any = _Socket(sent)
    response = FinalResponse(socket)
    response.begin()
    assert (response.status, response.read()) == (200, b"abc")


def test_usual_headers_cost_few_calls() -> None:
    file = _file(USUAL)
    assert calls_of(lambda: read_headers(file)) < 60  # email's parser: 500
