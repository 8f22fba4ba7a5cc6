"""A small proxy over HTTP, HTTPS or SOCKS, with faults on demand; it records its requests."""

import contextlib
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.authority import authority

_CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class SmallProxy:
    """Its requests as `METHOD target`, the credentials that it received, and its faults.

    `answer` are bytes that it sends instead of connecting, that often; `cut` are numbers of bytes after which a
    connection is cut, one a connection. `names` is where every name leads.
    """

    url: str = ""
    login: tuple[str, str] | None = None
    answer: bytes = b""
    answers: int = 1_000_000
    cut: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)


@contextmanager
def proxying(*, tls: bool = False, socks: bool = False, **faults: object) -> Iterator[SmallProxy]:
    """Run a proxy on a port of this machine; `faults` are fields of SmallProxy."""
    proxy = SmallProxy(**faults)  # type: ignore[arg-type]
    listening = socket.create_server(("127.0.0.1", 0))
    scheme = "socks5" if socks else "https" if tls else "http"
    proxy.url = f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
    threading.Thread(target=_accept, args=(listening, proxy, tls, _socks if socks else _http), daemon=True).start()
    try:
        yield proxy
    finally:
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def _accept(listening: socket.socket, proxy: SmallProxy, tls: bool, serve: object) -> None:
    context = authority().context if tls else None
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, proxy, context, serve), daemon=True).start()


def _serve(client: socket.socket, proxy: SmallProxy, context: ssl.SSLContext | None, serve: object) -> None:
    with contextlib.suppress(OSError, ValueError):
        if context is not None:
            client = context.wrap_socket(client, server_side=True)
        client.settimeout(30)
        assert callable(serve)
        serve(client, proxy)
    client.close()


def _http(client: socket.socket, proxy: SmallProxy) -> None:
    head = _head(client)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    fields = dict(line.split(": ", 1) for line in lines if line)
    proxy.asked.append(f"{method} {target}")
    proxy.shown.append(fields.get("Proxy-Authorization", ""))
    if proxy.answer and proxy.answers > 0:
        proxy.answers -= 1
        client.sendall(proxy.answer)
        return
    place = target if method == "CONNECT" else target.split("/")[2]
    host, _, port = place.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=30) as far:
        if method == "CONNECT":
            client.sendall(_CONNECTED)
        else:
            path = "/" + target.split("/", 3)[3]
            kept = [line for line in lines if line and not line.lower().startswith(("proxy-", "connection:"))]
            far.sendall(
                "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode("latin-1")
            )
        _relay(client, far, proxy)


def _socks(client: socket.socket, proxy: SmallProxy) -> None:
    """Implement SOCKS 5 (RFC 1928, and RFC 1929 for a login)."""
    version, methods = _exactly(client, 2)
    assert version == 5
    offered = _exactly(client, methods)
    if proxy.login is not None:
        if 2 not in offered:
            client.sendall(b"\x05\xff")
            return
        client.sendall(b"\x05\x02")
        user = _exactly(client, _exactly(client, 2)[1]).decode()
        password = _exactly(client, _exactly(client, 1)[0]).decode()
        proxy.shown.append(f"{user}:{password}")
        right = (user, password) == proxy.login
        client.sendall(b"\x01\x00" if right else b"\x01\x01")
        if not right:
            return
    else:
        client.sendall(b"\x05\x00")
    kind = _exactly(client, 4)[3]
    host = socket.inet_ntoa(_exactly(client, 4)) if kind == 1 else _exactly(client, _exactly(client, 1)[0]).decode()
    (port,) = struct.unpack(">H", _exactly(client, 2))
    proxy.asked.append(f"{'address' if kind == 1 else 'name'} {host}:{port}")
    with socket.create_connection((host, port), timeout=30) as far:
        client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        _relay(client, far, proxy)


def _relay(client: socket.socket, far: socket.socket, proxy: SmallProxy) -> None:
    left = proxy.cut.pop() if proxy.cut else None
    while True:
        waiting = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if waiting else select.select([client, far], [], [], 30)[0]
        if not ready:
            return
        for one in ready:
            data = one.recv(65536)
            if not data:
                return
            if one is far and left is not None:
                data, left = data[:left], left - len(data)
            (client if one is far else far).sendall(data)
            if left is not None and left <= 0:
                return


def _head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        more = client.recv(1)
        if not more:
            raise OSError("no request")
        head += more
        if head.startswith(b"\x16"):  # the client speaks TLS
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            raise OSError("no request")
    return head[:-4]


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise OSError("the client left")
        data += more
    return data
