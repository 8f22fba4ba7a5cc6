"""Everything that drips has a deadline: headers, documents, errors, redirects, tunnels and handshakes."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from preheat.core.digest import sha256
from preheat.core.errors import HubError, HubUnavailable
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.modelscope import ModelScope
from preheat.net.http import NetworkSettings, Transport
from tests.authority import authority, trusting
from tests.small_proxy import proxying

QUICK = NetworkSettings(connect_s=0.25, read_s=0.25, document_s=0.2)


@contextlib.contextmanager
def scripted(*answers: Iterable[bytes], secured: bool = False, pause_s: float = 0.02) -> Iterator[str]:
    """Respond to each connection with the next of `answers`, piece by piece; yield the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    tls = authority().context if secured else None

    def serve(client: socket.socket, pieces: Iterable[bytes]) -> None:
        with contextlib.suppress(OSError), tls.wrap_socket(client, server_side=True) if tls else client as line:
            line.settimeout(10)
            line.recv(65536)
            for piece in pieces:
                line.sendall(piece)
                time.sleep(pause_s)

    def accept() -> None:
        with contextlib.suppress(OSError):
            for pieces in answers:
                client = listening.accept()[0]
                threading.Thread(target=serve, args=(client, pieces), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with listening:
        yield f"{'https' if secured else 'http'}://127.0.0.1:{listening.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def dripping(head: bytes, drop: bytes = b"x") -> Iterable[bytes]:
    return itertools.chain([head], itertools.repeat(drop))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
DRIPS = {
    "a status line": (b"HTTP/1.1 200 O", b"K"),
    "a header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n", b"x"),
    "a body until the connection closes": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
    "a chunk's size": (CHUNKED, b"0"),
    "a chunk's extension": (CHUNKED + b"5;", b"x"),
    "chunks of one byte": (CHUNKED, b"1\r\nx\r\n"),
    "trailers": (CHUNKED + b"0\r\n", b"A: b\r\n"),
    "empty gzip members": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", b"\x1f\x8b\x08" + b"\0" * 7),
    "an error's body": (b"HTTP/1.1 503 No\r\nContent-Length: 90000\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("secured", [True, False])
@pytest.mark.parametrize("kind", DRIPS)
def test_a_dripping_response_is_abandoned(kind: str, secured: bool) -> None:
    with scripted(dripping(*DRIPS[kind]), secured=secured) as url, pytest.raises(HubError):
        Transport(trusting(QUICK)).get(url, {})


def test_an_endless_response_without_a_pause_is_abandoned() -> None:
    fast = itertools.chain([CHUNKED + b"0\r\n"], itertools.repeat(b"A: b\r\n" * 1000))
    with scripted(fast, pause_s=0.0) as url, pytest.raises(HubError):
        Transport(QUICK).get(url, {})


def test_a_redirect_with_a_dripping_body_is_followed() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 90000\r\n\r\n"
    with scripted(dripping(moved), [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]) as url:
        assert Transport(QUICK).get(url, {}).body == b"{}"


@pytest.mark.parametrize("secured", [True, False])
def test_a_tunnel_with_a_dripping_response_is_abandoned(secured: bool) -> None:
    for head, drop in ((b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"), (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"), (b"", b"H")):
        with scripted(dripping(head, drop), secured=secured) as proxy, pytest.raises(HubUnavailable):
            Transport(trusting(NetworkSettings({"https": proxy}, connect_s=0.25))).get("https://hub.example/", {})


@pytest.mark.parametrize("secured", [True, False])
@pytest.mark.parametrize("kind", ["a header", "a body", "trailers"])
def test_a_dripping_response_through_a_proxy_is_abandoned(kind: str, secured: bool) -> None:
    with scripted(dripping(*DRIPS[kind]), secured=True) as url, proxying(tls=secured) as proxy:
        settings = trusting(replace(QUICK, proxies={"https": proxy.url}))
        with pytest.raises(HubError):
            Transport(settings).get(url, {})


def test_a_dripping_handshake_is_abandoned() -> None:
    with scripted(dripping(b"\x16\x03\x03\x20\x00\x02", b"\0")) as url, pytest.raises(HubUnavailable):
        Transport(QUICK).get(url.replace("http:", "https:"), {})


def test_an_error_response_with_a_dripping_body_is_abandoned() -> None:
    denied = b"HTTP/1.1 403 No\r\nContent-Type: application/json\r\nContent-Length: 90000\r\n\r\n"
    ref, file = Ref.parse("ms:acme/tiny"), File("a.bin", 3, sha256("0" * 64))
    with scripted(*[dripping(denied)] * 2) as url, pytest.raises(HubError):
        ModelScope(url, Transport(QUICK)).open(Snapshot(ref, "1" * 40, (file,)), file, 0, 3)
