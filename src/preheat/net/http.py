"""HTTP client: pooled connections with keep-alive, redirects and proxies; independent of any hub."""

import contextlib
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from preheat import __version__
from preheat.core.errors import HubError, HubUnavailable, UsageError
from preheat.net.address_fence import Fence
from preheat.net.happy_eyeballs import Race
from preheat.net.interim_responses import FinalResponse
from preheat.net.interruptible_sockets import Waits, tls_context
from preheat.net.network_errors import host_of, refused_by_proxy, trouble
from preheat.net.proxies import Proxy, choose
from preheat.net.proxy_pools import is_forwarded, through
from preheat.net.response import Meter, Stream

_REDIRECTS = 8
_DIGEST_S = 300.0
_CREDENTIALS = frozenset(("authorization", "cookie", "proxy-authorization"))
_LEAST_RATE, _PIECE = 1024, 256 << 10  # minimum bytes/s of a slow document; bytes per read


@dataclass(frozen=True, slots=True)
class Wires:
    """Network settings: proxies by scheme (and `no`), CA file, timeouts in seconds, connections, address fence.

    Documents have at most `largest_document` bytes; a document that takes longer than `document_s` seconds fails if its
    rate is below 1 KiB/s. Behind a proxy, the fence checks only IP addresses, since the proxy resolves names.
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

    def get(self, url: str, headers: Mapping[str, str]) -> HttpDocument:
        """GET `url` and return the response, whatever its status; redirects are followed.

        Credentials in `headers` are not sent to another origin. Raise HubUnavailable if there is no response.
        """
        return self._whole(self._ask(url, headers))

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

    def _whole(self, answer: "_Answer") -> HttpDocument:
        largest, response = self._wires.largest_document, answer.response
        pieces, size, began = [], 0, time.monotonic()
        try:
            while piece := response.read1(_PIECE):
                pieces.append(piece)
                size += len(piece)
                took_s = time.monotonic() - began
                slow = took_s > self._wires.document_s and size < _LEAST_RATE * took_s
                if slow or size > largest:
                    response.close()
                    break
            else:
                slow = False
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise trouble(answer.url, error, answer.proxy) from error
        finally:
            response.release_conn()
        self._meter.add(size)
        if size > largest:
            raise HubError(f"{answer.url} sends more than {largest >> 20} MiB where a list was expected")
        if slow:
            raise HubUnavailable(f"{answer.url} responds too slowly", hint="try another --endpoint")
        body = b"".join(pieces)
        return HttpDocument(response.status, response.headers, body)

    def _ask(
        self, url: str, headers: Mapping[str, str], method: str = "GET", body: bytes | Iterable[memoryview] = b""
    ) -> "_Answer":
        """Send a request and follow redirects; choose the proxy and check the fence for each address."""
        at, shown = url, {"User-Agent": f"preheat/{__version__}", "Accept-Encoding": "identity", **headers}
        for _ in range(_REDIRECTS + 1):
            try:
                answer = self._send(at, shown, method, body)
                to = answer.response.get_redirect_location() if method in ("GET", "HEAD") else None
                if not to:
                    return answer
                _let_go(answer.response)
                at, before = urljoin(at, to), at
                if not _same_origin(at, before):
                    shown = {name: value for name, value in shown.items() if name.lower() not in _CREDENTIALS}
            except ValueError as error:
                # Either the address is invalid, or the content of the response.
                if at == url and (isinstance(error, exceptions.LocationValueError) or not host_of(url)):
                    raise UsageError(
                        f"{url!r} is not an address", hint="an endpoint looks like https://huggingface.co"
                    ) from error
                raise HubError(
                    f"{host_of(url)} redirects to an invalid address, or its response is invalid: {str(error)[:200]!r}",
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
                failure.seen = host_of(url) in self._seen
            raise failure from error
        if proxy is not None and is_forwarded(proxy, url):
            refused = refused_by_proxy(url, response.status, response.headers, proxy)
            if refused is not None:
                _let_go(response)
                raise refused
        self._seen.add(host_of(url))
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


def _same_origin(one: str, other: str) -> bool:
    first, second = (urllib3.util.parse_url(url) for url in (one, other))
    default = {"http": 80, "https": 443}
    return (first.scheme, first.host, first.port or default.get(first.scheme or "")) == (
        second.scheme,
        second.host,
        second.port or default.get(second.scheme or ""),
    )


def _let_go(response: urllib3.BaseHTTPResponse) -> None:
    """Discard a response; a short body is read, so that the connection can be reused."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and len(length) < 6:
        with contextlib.suppress(exceptions.HTTPError, OSError, ValueError):
            response.read()
        response.release_conn()
    else:
        response.close()


def _pool_classes(race: Race, fence: Fence | None) -> dict[str, type[HTTPConnectionPool]]:
    """Return pool classes whose connections have interruptible reads and are checked by the fence once established."""

    class Plain(HTTPConnection):
        response_class = FinalResponse

        def _new_conn(self) -> socket.socket:
            timeout_s = self.timeout if isinstance(self.timeout, int | float) else None
            try:
                return race.connect(self._dns_host, self.port or 0, timeout_s, self.socket_options or ())
            except socket.gaierror as error:
                raise exceptions.NameResolutionError(self.host, self, error) from error
            except TimeoutError as error:
                raise exceptions.ConnectTimeoutError(self, f"connecting to {self.host} timed out") from error
            except OSError as error:
                raise exceptions.NewConnectionError(self, f"cannot connect to {self.host}: {error}") from error

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as in urllib3
            line = self.sock if isinstance(self.sock, Waits) else None
            if line is not None and isinstance(self.timeout, int | float):
                line.head_until = time.monotonic() + self.timeout
            try:
                return super().getresponse()
            finally:
                if line is not None:
                    line.head_until = None

        def connect(self) -> None:
            if fence is None:
                super().connect()
                return
            fence.look(self.host, self.port or 0)
            super().connect()
            if self.sock is not None:
                fence.check(self.host, self.port or 0, str(self.sock.getpeername()[0]))

    class Secure(Plain, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
