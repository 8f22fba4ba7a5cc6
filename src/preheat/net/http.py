"""HTTP client: pooled connections with keep-alive, redirects and proxies; independent of any hub."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3 import exceptions

from preheat import __version__
from preheat.core.errors import HubError, HubUnavailable, PreheatError
from preheat.core.secret_text import one_line
from preheat.core.values.replace import replace
from preheat.net.address_fence import Fence
from preheat.net.happy_eyeballs import Race
from preheat.net.interruptible_sockets import tls_context
from preheat.net.network_errors import host_of, hub_error, is_malformed, refused_by_proxy
from preheat.net.pools import is_forwarded, of_origin, pool_classes, socket_options, through
from preheat.net.proxies import Proxy, choose
from preheat.net.redirects import follow, let_go
from preheat.net.response import Meter, PassedOn, Stream, socket_of
from preheat.net.retry import NEAR_ALIVE_S, NEAR_CONNECT_S

_REDIRECTS = 8
_DIGEST_S = 300.0
_LEAST_RATE, _PIECE = 16 << 10, 256 << 10  # minimum bytes/s of a slow document; bytes per read
_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Network settings: proxies by scheme (and `no`), CA file, timeouts in seconds, connections, address fence.

    With `alive_s`, a direct connection ends when its host has not answered the kernel's probes for so many seconds.

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
    alive_s: float = 0.0

    @property
    def near(self) -> "NetworkSettings":
        """Return the settings for a mirror that others stand in for: a host that is gone is noticed within seconds."""
        return replace(self, connect_s=min(self.connect_s, NEAR_CONNECT_S), alive_s=NEAR_ALIVE_S)


@dataclass(frozen=True, slots=True)
class HttpDocument:
    """A complete response with a small body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Connection pools, one per proxy and one for direct connections; thread-safe."""

    def __init__(self, settings: NetworkSettings) -> None:
        # An invalid certificate is reported with the time of this machine: network_errors.py.
        urllib3.disable_warnings(exceptions.SystemTimeWarning)
        self._settings = settings
        self._tls = tls_context(str(settings.ca_file) if settings.ca_file else None)
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}
        self._seen: set[str] = set()
        self._race = Race()
        self._meter = Meter()

    @property
    def received(self) -> int:
        """Bytes of all response bodies so far."""
        return self._meter.total

    def round_trip_s(self, url: str) -> float:
        """Return the shortest round trip to the server of `url` so far, in seconds; 0 if unknown, as behind a proxy."""
        parts = urlsplit(url)
        return self._race.round_trip_s(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    def get(
        self, url: str, headers: Mapping[str, str], arrived: Callable[[int], None] = lambda _size: None
    ) -> HttpDocument:
        """GET `url` and return the response, whatever its status; redirects are followed.

        `arrived` is called with the size of each piece of the body; an exception ends the request. Credentials in
        `headers` are not sent to another origin. Raise HubUnavailable if there is no response.
        """
        return self._read_body(self._ask(url, headers), arrived)

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
        return self._read_body(self._ask(url, headers, method, body))

    def pass_on(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> PassedOn:
        """Forward a request as it is; return the response, even a redirect. Raise HubError, also for an invalid URL."""
        try:
            answer = self._send(url, headers, method, body)
        except ValueError as error:
            raise HubError(f"{one_line(url)!r} is not an address", hint="") from error
        return PassedOn(answer.response, url, answer.proxy)

    def close(self) -> None:
        """Close all idle connections."""
        for pool in self._pools.values():
            pool.clear()

    def _read_body(self, answer: "_Answer", arrived: Callable[[int], None] = lambda _size: None) -> HttpDocument:
        """Read a body within its size and its deadline; the socket itself checks the deadline if it can."""
        settings, response, line = self._settings, answer.response, socket_of(answer.response)
        pieces, size, began = [], 0, time.monotonic()
        try:
            while True:
                until = began + min(settings.document_s + size / _LEAST_RATE, _LONGEST_S)
                if line is not None:
                    line.until = until
                elif time.monotonic() > until:
                    response.close()
                    raise TimeoutError
                piece = response.read1(_PIECE)
                pieces.append(piece)
                size += len(piece)
                arrived(len(piece))
                if size > settings.largest_document:
                    response.close()
                    most = f"{settings.largest_document >> 20} MiB"
                    raise HubError(f"{host_of(answer.url)} sends more than {most} where a list was expected")
                if not piece:
                    return HttpDocument(response.status, response.headers, b"".join(pieces))
        except (exceptions.ReadTimeoutError, TimeoutError) as error:
            # `silent` prevents retries: an attempt takes long, and the next one would hardly be faster.
            failure = HubUnavailable(
                f"{host_of(answer.url)} responds too slowly", hint="try another --endpoint", silent=True, answered=True
            )
            raise failure from error
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise hub_error(answer.url, error, answer.proxy) from error
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
        settings, proxy = self._settings, self._proxy(url)
        reading = method in ("GET", "HEAD")
        try:
            pools = self._pool(proxy)
            opened, target = (pools, url) if proxy is not None else of_origin(pools, url)
            response = opened.urlopen(
                method,
                target,
                # After an upload, the server may need longer to respond.
                timeout=urllib3.Timeout(connect=settings.connect_s, read=settings.read_s if reading else _DIGEST_S),
                redirect=False,
                body=body or None,  # type: ignore[arg-type]  # a socket takes memory as it takes bytes
                headers=headers,
                preload_content=False,
                retries=False,
                assert_same_host=False,
            )
        except exceptions.LocationValueError:
            raise
        except (exceptions.HTTPError, OSError) as error:
            failure = hub_error(url, error, proxy)
            if isinstance(failure, HubUnavailable):
                # A server whose response is not HTTP will not recover by waiting.
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
        proxy = choose(url, self._settings.proxies)
        if proxy is not None and self._settings.fence is not None:
            parts = urlsplit(url)
            self._settings.fence.check_host(
                parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
            )
        return proxy

    def _pool(self, proxy: Proxy | None) -> urllib3.PoolManager:
        if proxy not in self._pools:
            settings = self._settings
            timeout = urllib3.Timeout(connect=settings.connect_s, read=settings.read_s)
            if proxy is None:
                pool = urllib3.PoolManager(
                    maxsize=settings.connections,
                    timeout=timeout,
                    ssl_context=self._tls,
                    socket_options=socket_options(settings.alive_s),
                )
            else:
                tls = {"ssl_context": self._tls} | ({} if proxy.is_socks else {"proxy_ssl_context": self._tls})
                pool = through(proxy, maxsize=settings.connections, timeout=timeout, **tls)
            if proxy is None or not proxy.is_socks:
                pool.pool_classes_by_scheme = pool_classes(self._race, settings.fence if proxy is None else None)
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
