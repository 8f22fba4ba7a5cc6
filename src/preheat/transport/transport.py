"""Transport: HTTP connections, kept alive; it knows no hub."""

import time
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
from preheat.transport.stream import Meter, Stream, trouble

_REDIRECTS = 8
_DIGEST_S = 300.0
_LEAST_RATE, _PIECE = 1024, 256 << 10  # bytes a second of a document that is late, and bytes of one read


@dataclass(frozen=True, slots=True)
class Wires:
    """How to reach the world: proxies by scheme (and `no`), an extra CA file, seconds to wait, and a fence.

    Documents are of at most `largest_document` bytes; after `document_s` seconds one fails if it came at less than
    1 KiB a second. What goes through a proxy is the proxy's to fence in.
    """

    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_file: Path | None = None
    connect_s: float = 10.0
    read_s: float = 20.0
    connections: int = 256
    fence: Fence | None = None
    largest_document: int = 256 << 20
    document_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Document:
    """A small answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Pools of connections, one for each way out; safe to use from many threads."""

    def __init__(self, wires: Wires) -> None:
        self._wires = wires
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._meter = Meter()

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
        body, began = b"", time.monotonic()
        try:
            pieces = []
            while size := len(piece := response.read1(_PIECE)):
                pieces.append(piece)
                most -= size
                late_s = time.monotonic() - began - self._wires.document_s
                if most < 0:
                    break
                if late_s > 0 and sum(map(len, pieces)) < _LEAST_RATE * (late_s + self._wires.document_s):
                    response.close()
                    raise HubUnavailable(f"{url} answers too slowly to be read", hint="try another --endpoint")
            body = b"".join(pieces)
        except (exceptions.HTTPError, OSError) as error:
            raise trouble(url, error) from error
        finally:
            response.release_conn()
        self._meter.add(len(body))
        if most < 0:
            largest = self._wires.largest_document >> 20
            raise HubError(f"{url} answers with more than {largest} MiB where a list was expected")
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
            raise trouble(url, error) from error
        except ValueError as error:
            raise HubError(f"{url} leads to what is no address: {error}", hint="try another --endpoint") from error

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
