"""Intercepting proxy: answer CONNECT in the host's own name, forward each request, and log the responses.

It speaks HTTP/1.1 to clients (RFC 9110 section 9.3.6, RFC 9112). If it may open tunnels, a client that rejects the
authority's certificate, such as one with pinned certificates, is passed through unseen from its next connection on.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

from preheat.core.errors import PreheatError
from preheat.guard.shim.response_log import ResponseLog
from preheat.mirror.access.authority import SiteAuthority
from preheat.net.response import PassedOn

_MOST_SENT = 256 << 20  # bytes of a request's body
_MOST_REJECTED = 4096  # hosts
_IDLE_S, _CONNECT_S = 120.0, 10.0
_PIECE = 64 << 10
# Headers of one connection, RFC 9110 section 7.6.1.
_OWN = frozenset(
    (
        "connection",
        "proxy-connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-authorization",
    )
)


PassOn = Callable[[str, str, Mapping[str, str], bytes], PassedOn]


class InterceptingProxy:
    """A proxy on a free port of 127.0.0.1, between `with` and its end.

    `pass_on` gets each request, as Transport.pass_on does; many threads call it. `log` gets each response; None for
    none. Without an `authority`, CONNECT is refused. With `tunnels`, `rejected` are the hosts whose clients rejected
    the certificate; without, nothing leaves but what `pass_on` sends: for clients that have no network. `refuses`
    returns whether a host cannot be reached: its clients get no connection, as without a network.
    """

    def __init__(
        self,
        authority: SiteAuthority | None,
        pass_on: PassOn,
        log: ResponseLog | None = None,
        *,
        tunnels: bool = False,
        refuses: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.authority, self.pass_on, self.log, self.tunnels, self.refuses = authority, pass_on, log, tunnels, refuses
        self.rejected: dict[str, None] = {}
        self._server = _Listener(self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="intercept", daemon=True)

    @property
    def url(self) -> str:
        """Its address, for the variables of a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: InterceptingProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Client)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that went away."""


class _Client(BaseHTTPRequestHandler):
    """One connection of a client; after CONNECT, the requests inside it."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: _Listener
    origin = ""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the standard library
        """Print nothing."""

    def do_CONNECT(self) -> None:
        proxy, (host, _, port) = self.server.proxy, self.path.rpartition(":")
        self.close_connection = True
        bare = host.strip("[]")
        if proxy.authority is None or proxy.refuses(bare):
            self.send_error(502, f"no connection to {bare}" if bare.isascii() else "no connection")
            return
        if host in proxy.rejected:
            self._tunnel(host, port)
            return
        self.send_response_only(200, "Connection established")
        self.end_headers()
        self.wfile.flush()
        try:
            secured = proxy.authority.context_of(bare).wrap_socket(self.connection, server_side=True)
        except OSError:  # ssl.SSLError is one
            if proxy.tunnels and len(proxy.rejected) < _MOST_REJECTED:
                proxy.rejected[host] = None
            return
        except ValueError:  # no certificate can name such a host
            return
        self.origin = f"https://{host}" if port == "443" else f"https://{host}:{port}"
        self.close_connection = False
        with secured, secured.makefile("rb") as self.rfile, secured.makefile("wb") as self.wfile:
            self.connection = secured
            while not self.close_connection:
                self.handle_one_request()
            with contextlib.suppress(OSError):
                secured.unwrap().close()

    def _forward(self) -> None:
        url = self.origin + self.path
        if not url.startswith(("http://", "https://")):
            self.send_error(400, "a proxy needs the whole URL")
            return
        if not self.origin and self.server.proxy.refuses(urlsplit(url).hostname or ""):
            self.close_connection = True  # a status would be that host's answer
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        try:
            body = self._body()
            answer = self.server.proxy.pass_on(self.command, url, headers, body)
        except (PreheatError, ValueError) as error:
            self.close_connection = True
            self.send_error(502, str(error)[:200].encode("ascii", "replace").decode())
            return
        with contextlib.closing(answer):
            self._answer(answer, url)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_PROPFIND = _forward  # noqa: N815

    def _answer(self, answer: PassedOn, url: str) -> None:
        """Send a response to the client as it arrives, and log it."""
        log = self.server.proxy.log
        logged = None if log is None else log.response(self.command, url, answer.status, answer.headers)
        self.send_response_only(answer.status, answer.reason)
        bare = self.command == "HEAD" or answer.status in (204, 304)
        sized = "Content-Length" in answer.headers
        for name, value in answer.headers.items():
            if name.lower() not in _OWN:
                self.send_header(name, value)
        if not bare and not sized:
            # Its end is the end of the connection: HTTP/1.0 clients know no chunks.
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.flush()
        if bare:
            return
        try:
            for piece in answer.pieces():
                self.wfile.write(piece)
                self.wfile.flush()
                if logged is not None:
                    logged.add(piece)
        except (OSError, PreheatError):
            self.close_connection = True  # cut, so that the client does not take a part for the whole
        finally:
            if logged is not None:
                logged.end()

    def _body(self) -> bytes:
        """Return the request's body. Raise ValueError if it is too large or malformed."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 <= size <= _MOST_SENT:
            raise ValueError("the request is too large for --intercept")
        return self.rfile.read(size)

    def _chunks(self) -> Iterator[bytes]:
        total = 0
        while size := int(self.rfile.readline(100).partition(b";")[0], 16):
            total += size
            if size < 0 or total > _MOST_SENT:
                raise ValueError("the request is too large for --intercept")
            yield self.rfile.read(size)
            self.rfile.readline(100)
        while self.rfile.readline(_PIECE).strip():
            pass

    def _tunnel(self, host: str, port: str) -> None:
        """Pass the bytes of a connection through."""
        try:
            other = socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S)
        except (OSError, ValueError):
            self.send_error(502)
            return
        with other:
            other.settimeout(None)
            self.send_response_only(200, "Connection established")
            self.end_headers()
            there = threading.Thread(target=_pump, args=(self.connection, other), daemon=True)
            there.start()
            _pump(other, self.connection)
            there.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
