"""HTTP client: pooled connections with keep-alive, redirects and proxies; independent of any hub."""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from preheat import __version__
from preheat.core.errors import HubError, HubUnavailable, PreheatError
from preheat.core.secret_text import one_line
from preheat.net.address_fence import Fence
from preheat.net.final_response import FinalResponse
from preheat.net.happy_eyeballs import Race, all_of
from preheat.net.interruptible_sockets import Waits, line_of, tls_context
from preheat.net.network_errors import host_of, is_malformed, refused_by_proxy, trouble
from preheat.net.proxies import Proxy, choose
from preheat.net.proxy_pools import is_forwarded, through
from preheat.net.redirects import follow, let_go
from preheat.net.response import Meter, Stream, keep_line, kept_line

_REDIRECTS = 8
_DIGEST_S = 300.0
_LEAST_RATE, _PIECE = 16 << 10, 256 << 10  # minimum bytes/s of a slow document; bytes per read
_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Wires:
    """Network settings: proxies by scheme (and `no`), CA file, timeouts in seconds, connections, address fence.

    Documents have at most `largest_document` bytes. A document must arrive within `document_s` seconds, plus one second
    for each 16 KiB that it has, and within 10 minutes. Behind a proxy, the fence checks only IP addresses, since the
    proxy resolves names.
    """

    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None
    connect_s: float = 10.0
    read_s: float = 45.0
    connections: int = 256
    fence: Fence | None = None
    largest_document: int = 256 << 20
    document_s: float = 30.0


@dataclass(frozen=True, slots=True)
class HttpDocument:
    """A complete response with a small body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Connection pools, one per proxy and one for direct connections; thread-safe."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._tls = tls_context(str(wires.ca_file) if wires.ca_file else None)
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}
        self._seen: set[str] = set()
        self._race = Race()
        self._meter = Meter()

    @property
    def received(self) -> int:
        """Bytes of all response bodies so far."""
        return self._meter.total

    def get(
        self, url: str, headers: Mapping[str, str], arrived: Callable[[int], None] = lambda _size: None
    ) -> HttpDocument:
        """GET `url` and return the response, whatever its status; redirects are followed.

        `arrived` is called with the size of each piece of the body; an exception ends the request. Credentials in
        `headers` are not sent to another origin. Raise HubUnavailable if there is no response.
        """
        return self._whole(self._ask(url, headers), arrived)

    def stream(self, url: str, headers: Mapping[str, str]) -> Stream:
        """GET `url` like `get`, but return the response as a stream."""
        answer = self._ask(url, headers)
        return Stream(answer.response, answer.url, self._meter, answer.proxy)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[memoryview] = b""
    ) -> HttpDocument:
        """Send a request with another method than GET; return the response, whatever its status.

        An iterable `body` is streamed, and `headers` must contain its Content-Length. Redirects are followed for HEAD
        only. Raise HubUnavailable if there is no response.
        """
        return self._whole(self._ask(url, headers, method, body))

    def close(self) -> None:
        """Close all idle connections."""
        for pool in self._pools.values():
            pool.clear()

    def _whole(self, answer: "_Answer", arrived: Callable[[int], None] = lambda _size: None) -> HttpDocument:
        """Read a body within its size and its deadline; the socket itself checks the deadline if it can."""
        wires, response, line = self._wires, answer.response, kept_line(answer.response)
        pieces, size, began = [], 0, time.monotonic()
        try:
            while True:
                until = began + min(wires.document_s + size / _LEAST_RATE, _LONGEST_S)
                if line is not None:
                    line.until = until
                elif time.monotonic() > until:
                    response.close()
                    raise TimeoutError
                piece = response.read1(_PIECE)
                pieces.append(piece)
                size += len(piece)
                arrived(len(piece))
                if size > wires.largest_document:
                    response.close()
                    most = f"{wires.largest_document >> 20} MiB"
                    raise HubError(f"{host_of(answer.url)} sends more than {most} where a list was expected")
                if not piece:
                    return HttpDocument(response.status, response.headers, b"".join(pieces))
        except (exceptions.ReadTimeoutError, TimeoutError) as error:
            # `silent`: an attempt takes long, and a host that does this has little chance to succeed at the next one.
            failure = HubUnavailable(
                f"{host_of(answer.url)} responds too slowly", hint="try another --endpoint", silent=True, answered=True
            )
            raise failure from error
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise trouble(answer.url, error, answer.proxy) from error
        except PreheatError:
            response.close()
            raise
        finally:
            if line is not None:
                line.until = None
            self._meter.add(size)
            response.release_conn()

    def _ask(
        self, url: str, headers: Mapping[str, str], method: str = "GET", body: bytes | Iterable[memoryview] = b""
    ) -> "_Answer":
        """Send a request and follow redirects; choose the proxy and check the fence for each address."""
        at = url
        shown: Mapping[str, str] = {"User-Agent": f"preheat/{__version__}", "Accept-Encoding": "identity", **headers}
        for _ in range(_REDIRECTS + 1):
            try:
                answer = self._send(at, shown, method, body)
                to = answer.response.get_redirect_location() if method in ("GET", "HEAD") else None
                if not to:
                    return answer
                let_go(answer.response)
                at, shown = follow(at, to, shown)
            except ValueError as error:
                # Either the address is invalid, or the content of the response.
                if at == url and (isinstance(error, exceptions.LocationValueError) or not host_of(url)):
                    raise HubError(
                        f"{one_line(url)!r} is not an address", hint="an endpoint looks like https://huggingface.co"
                    ) from error
                raise HubError(
                    f"{host_of(url)} redirects to an invalid address, or its response is invalid: "
                    f"{one_line(str(error))!r}",
                    hint="try another --endpoint",
                ) from error
        raise HubError(f"{host_of(url)} redirects without end", hint="check the endpoint, or try another --endpoint")

    def _send(self, url: str, headers: Mapping[str, str], method: str, body: bytes | Iterable[memoryview]) -> "_Answer":
        wires, proxy = self._wires, self._proxy(url)
        reading = method in ("GET", "HEAD")
        try:
            response = self._pool(proxy).request(
                method,
                url,
                # After an upload, the server may need longer to respond.
                timeout=urllib3.Timeout(connect=wires.connect_s, read=wires.read_s if reading else _DIGEST_S),
                redirect=False,
                body=body or None,  # type: ignore[arg-type]  # a socket takes memory as it takes bytes
                headers=headers,
                preload_content=False,
                retries=False,
            )
        except exceptions.LocationValueError:
            raise
        except (exceptions.HTTPError, OSError) as error:
            failure = trouble(url, error, proxy)
            if isinstance(failure, HubUnavailable):
                # A server that responds with nonsense is not merely away for a while.
                failure.seen = _start(url) in self._seen and not is_malformed(error)
            raise failure from error
        if proxy is not None and is_forwarded(proxy, url):
            refused = refused_by_proxy(url, response.status, response.headers, proxy)
            if refused is not None:
                let_go(response)
                raise refused
        self._seen.add(_start(url))
        return _Answer(response, url, proxy)

    def _proxy(self, url: str) -> Proxy | None:
        """Return the proxy for `url`, or None; check the fence before the URL is sent to a proxy."""
        proxy = choose(url, self._wires.proxies)
        if proxy is not None and self._wires.fence is not None:
            parts = urlsplit(url)
            self._wires.fence.look(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        return proxy

    def _pool(self, proxy: Proxy | None) -> urllib3.PoolManager:
        if proxy not in self._pools:
            wires = self._wires
            timeout = urllib3.Timeout(connect=wires.connect_s, read=wires.read_s)
            if proxy is None:
                pool = urllib3.PoolManager(maxsize=wires.connections, timeout=timeout, ssl_context=self._tls)
            else:
                tls = {"ssl_context": self._tls} | ({} if proxy.is_socks else {"proxy_ssl_context": self._tls})
                pool = through(proxy, maxsize=wires.connections, timeout=timeout, **tls)
            if proxy is None or not proxy.is_socks:
                pool.pool_classes_by_scheme = _pool_classes(self._race, wires.fence if proxy is None else None)
            self._pools[proxy] = pool
        return self._pools[proxy]


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response, its URL after redirects and its proxy."""

    response: urllib3.BaseHTTPResponse
    url: str
    proxy: Proxy | None


def _start(url: str) -> str:
    """Return the scheme, host and port of a valid address unparsed: parsing takes 50 µs, for each file."""
    return "/".join(url.split("/", 3)[:3])


def _pool_classes(race: Race, fence: Fence | None) -> dict[str, type[HTTPConnectionPool]]:
    """Return pool classes whose connections have interruptible reads and are checked by the fence once established."""

    class Plain(HTTPConnection):
        response_class = FinalResponse

        def _new_conn(self) -> socket.socket:
            timeout_s = self.timeout if isinstance(self.timeout, int | float) else None
            sift = all_of if fence is None else fence.sift
            try:
                line = race.connect(self._dns_host, self.port or 0, timeout_s, self.socket_options or (), sift)
            except socket.gaierror as error:
                raise exceptions.NameResolutionError(self.host, self, error) from error
            except TimeoutError as error:
                raise exceptions.ConnectTimeoutError(self, f"connecting to {self.host} timed out") from error
            except OSError as error:
                raise exceptions.NewConnectionError(self, f"cannot connect to {self.host}: {error}") from error
            # For a proxy's response to CONNECT.
            line.until = None if timeout_s is None else time.monotonic() + timeout_s
            return line

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3
            line = line_of(self.sock)
            if line is not None and isinstance(self.timeout, int | float):
                line.until = time.monotonic() + self.timeout
            try:
                response = super().getresponse()
            finally:
                if line is not None:
                    line.until = None
            return keep_line(response, line)

        def connect(self) -> None:
            if fence is not None:
                fence.look(self.host, self.port or 0)
            super().connect()
            if (line := line_of(self.sock)) is not None:
                line.until = None

    class Secure(Plain, HTTPSConnection):
        def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> ssl.SSLSocket:
            until = sock.until if isinstance(sock, Waits) else None
            secured = super()._connect_tls_proxy(hostname, sock)
            if isinstance(secured, Waits):
                secured.until = until
            return secured

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
