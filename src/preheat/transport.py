"""Transport: HTTP connections, kept alive; it knows no hub."""

import contextlib
import http.client
import socket
import ssl
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import urllib3
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from preheat import __version__
from preheat.errors import HubError, HubUnavailable, UsageError
from preheat.fence import Fence

_REDIRECTS = 8
_DIGEST_S = 300.0
_LITTLE, _ENOUGH = 32 << 10, 256 << 10


@dataclass(frozen=True, slots=True)
class Wires:
    """How to reach the world: proxies by scheme (and `no`), an extra CA file, seconds to wait, and a fence.

    Documents are of at most `largest_document` bytes. What goes through a proxy is the proxy's to fence in.
    """

    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None
    connect_s: float = 10.0
    read_s: float = 20.0
    connections: int = 256
    fence: Fence | None = None
    largest_document: int = 256 << 20


@dataclass(frozen=True, slots=True)
class Document:
    """A small answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream:
    """A large answer, on its way; it came from `landed`, which is another address than was asked after a redirect."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, meter: "_Meter") -> None:
        self._response = response
        self._url = url
        self._meter = meter
        self.status = response.status
        self.landed = _landed(response, url)
        self.headers: Mapping[str, str] = response.headers
        # urllib3 reads into bytes of its own and copies; below it lies the standard library's reader, which does not.
        # Only for bodies of a told length: of others it cannot tell an end from a break.
        below = getattr(response, "_fp", None)
        told = isinstance(below, http.client.HTTPResponse) and below.length is not None
        self._plain: http.client.HTTPResponse | None = below if told else None
        self._doze = _Doze(response)

    def readinto(self, buffer: memoryview) -> int:
        """See preheat.hub.Reader. Raise HubUnavailable when the line breaks, even if it breaks politely."""
        try:
            if self._plain is not None:
                count = self._plain.readinto(self._doze.over(buffer, self._plain.length or 0))
            else:
                count = self._response.readinto(buffer)
        except (exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            raise _trouble(self._url, error) from error
        self._meter.add(count)
        if self._plain is not None and self._plain.isclosed():
            self._response.release_conn()
        return count

    def close(self) -> None:
        """Let go; an answer that was not read to its end takes its connection with it."""
        self._response.close()

    def break_off(self) -> None:
        """See preheat.hub.Reader."""
        # Between the check and the call the reading thread may have finished, which is as good.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            self._response.shutdown()


class _Doze:
    """Lets a reader sleep until there is enough to get up for, instead of waking it for every packet.

    With hundreds of connections that is most of what a pull costs. See SO_RCVLOWAT in socket(7): poll(2) minds it since
    Linux 2.6.28; Windows and TLS, which reads in records, go without.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        line = getattr(response.connection, "sock", None)
        plain = sys.platform == "linux" and isinstance(line, socket.socket) and not isinstance(line, ssl.SSLSocket)
        self._line: socket.socket | None = line if plain else None
        self._enough = 1

    def over(self, buffer: memoryview, left: int) -> memoryview:
        """Say how much of `buffer` to fill next, of an answer that has `left` bytes to go.

        Never waits for more than is still to come: the standard library may ask more than once to fill a buffer, so
        after it is full there must be as much to come as each of its waits is for.
        """
        if self._line is None:
            return buffer
        enough = min(len(buffer) // 2, _ENOUGH)
        if enough >= _LITTLE and left >= 2 * enough:
            buffer = buffer[: left - enough]
        else:
            enough = 1
        if enough != self._enough:
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
            self._enough = enough
        return buffer


class _Meter:
    """A sum that many threads add to."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.total = 0

    def add(self, count: int) -> None:
        with self._turn:
            self.total += count


class Transport:
    """Pools of connections, one for each way out; safe to use from many threads."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._meter = _Meter()

    @property
    def received(self) -> int:
        """Bytes of all answers' bodies so far."""
        return self._meter.total

    def get(self, url: str, headers: Mapping[str, str]) -> Document:
        """Ask for `url`, follow redirects, return the answer whatever its status.

        Credentials in `headers` are not sent on to another origin. Raise HubUnavailable if nobody answers.
        """
        return self._whole(self._ask(url, {"Accept-Encoding": "identity", **headers}), url)

    def stream(self, url: str, headers: Mapping[str, str]) -> Stream:
        """Ask for `url` as `get` does, and hand the answer out as it comes."""
        return Stream(self._ask(url, {"Accept-Encoding": "identity", **headers}), url, self._meter)

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Iterable[memoryview] = b""
    ) -> Document:
        """Ask for something by another method than GET; return the answer whatever its status.

        A body that is not bytes is sent as it comes, and its Content-Length has to be among `headers`. Only HEAD
        follows redirects. Raise HubUnavailable if nobody answers.
        """
        return self._whole(self._ask(url, {"Accept-Encoding": "identity", **headers}, method, body), url)

    def close(self) -> None:
        """Close all idle connections."""
        for pool in self._pools.values():
            pool.clear()

    def _whole(self, response: urllib3.BaseHTTPResponse, url: str) -> Document:
        most = self._wires.largest_document
        try:
            body = response.read(most + 1)
        except (exceptions.HTTPError, OSError) as error:
            raise _trouble(url, error) from error
        finally:
            response.release_conn()
        self._meter.add(len(body))
        if len(body) > most:
            raise HubError(f"{url} answers with more than {most >> 20} MiB where a list was expected")
        return Document(response.status, response.headers, body)

    def _ask(
        self, url: str, headers: Mapping[str, str], method: str = "GET", body: bytes | Iterable[memoryview] = b""
    ) -> urllib3.BaseHTTPResponse:
        wires = self._wires
        reading = method in ("GET", "HEAD")
        try:
            return self._pool(url).request(
                method,
                url,
                # What was sent may take its receiver a while to digest.
                timeout=urllib3.Timeout(connect=wires.connect_s, read=wires.read_s if reading else _DIGEST_S),
                redirect=reading,
                body=body or None,  # type: ignore[arg-type]  # a socket takes memory as it takes bytes
                headers={"User-Agent": f"preheat/{__version__}", **headers},
                preload_content=False,
                retries=urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=_REDIRECTS),
            )
        except exceptions.LocationValueError as error:
            raise UsageError(
                f"{url!r} is not an address", hint="an endpoint looks like https://huggingface.co"
            ) from error
        except (exceptions.HTTPError, OSError) as error:
            raise _trouble(url, error) from error

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = self._proxy(url)
        if proxy not in self._pools:
            wires = self._wires
            timeout = urllib3.Timeout(connect=wires.connect_s, read=wires.read_s)
            ca = str(wires.ca_file) if wires.ca_file else None
            self._pools[proxy] = (
                urllib3.ProxyManager(proxy, maxsize=wires.connections, timeout=timeout, ca_certs=ca)
                if proxy
                else urllib3.PoolManager(maxsize=wires.connections, timeout=timeout, ca_certs=ca)
            )
            if wires.fence is not None and not proxy:
                self._pools[proxy].pool_classes_by_scheme = _fenced(wires.fence)
        return self._pools[proxy]

    def _proxy(self, url: str) -> str:
        proxies = dict(self._wires.proxies)
        parts = urllib3.util.parse_url(url)
        if not proxies or urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]  # typeshed lacks it
            parts.netloc or "", proxies
        ):
            return ""
        return proxies.get(parts.scheme or "") or proxies.get("all") or ""


def _fenced(fence: Fence) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools whose connections are checked when they are made, before anything is asked over them."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
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


def _landed(response: urllib3.BaseHTTPResponse, url: str) -> str:
    """Follow the redirects that were followed."""
    for one in response.retries.history if response.retries is not None else ():
        url = urllib.parse.urljoin(url, one.redirect_location or "")
    return url


def _trouble(url: str, error: Exception) -> HubError:
    """Put what urllib3 raised into one line of ours; only what may pass is HubUnavailable."""
    cause: BaseException = error.reason if isinstance(error, exceptions.MaxRetryError) and error.reason else error
    address = urllib3.util.parse_url(url)
    host = f"{address.scheme}://{address.netloc}"
    if isinstance(cause, exceptions.ResponseError):
        return HubError(f"{host} redirects without end", hint="is the endpoint right? try another --endpoint")
    if isinstance(cause, exceptions.SSLError):
        return HubError(
            f"{host} shows a certificate that is not trusted here", hint="set SSL_CERT_FILE to your CA's file"
        )
    if isinstance(cause, exceptions.ProxyError):
        return HubUnavailable(f"the proxy on the way to {host} does not answer", hint="check HTTPS_PROXY and NO_PROXY")
    refused = isinstance(cause, exceptions.NewConnectionError)  # which urllib3 counts among the timeouts
    late = isinstance(cause, exceptions.TimeoutError) and not refused
    said = "does not answer in time" if late else "does not answer"
    return HubUnavailable(f"{host} {said}", hint="is it up, and reachable from here? try --endpoint hf=URL for another")
