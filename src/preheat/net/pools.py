"""Pools: the pools of connections to an origin, direct, or through a proxy by CONNECT, as plain requests, or SOCKS."""

import importlib.util
import re
import socket
import ssl
import time
from typing import Any

import urllib3
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse

from preheat.core.errors import UsageError
from preheat.net.address_fence import Fence
from preheat.net.final_response import FinalResponse
from preheat.net.happy_eyeballs import Race, all_of
from preheat.net.interruptible_sockets import ResumingContext, TlsSocket, Waits, line_of
from preheat.net.proxies import Proxy
from preheat.net.response import attach_socket

# An address that urllib3 requests as it is written: in lower case, without fragment, `..`, or letters to encode.
_PLAIN_URL = re.compile(
    r"(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}))?"
    r"((?:/(?!\.)[A-Za-z0-9._~!$&'()*+,;=:@-]*)+)"
)


def is_forwarded(proxy: Proxy, url: str) -> bool:
    """Whether the proxy itself reads and forwards requests for `url`, in contrast to a tunnel."""
    return not proxy.is_socks and not url.lower().startswith("https:")


def through(proxy: Proxy, **options: Any) -> urllib3.PoolManager:
    """Return urllib3's pools for a proxy; `options` are PoolManager's. Raise UsageError for SOCKS without PySocks."""
    if not proxy.is_socks:
        return urllib3.ProxyManager(proxy.url, proxy_headers=proxy.headers, **options)
    if importlib.util.find_spec("socks") is None:  # urllib3 would warn before it raises
        raise UsageError(
            f"{proxy.variable} names a SOCKS proxy, and PySocks is not installed",
            hint="pip install 'preheat[socks]', or an http:// proxy: Clash, v2ray and others offer both",
        )
    from urllib3.contrib.socks import SOCKSProxyManager

    return SOCKSProxyManager(proxy.url, username=proxy.user or None, password=proxy.password or None, **options)


def socket_options(alive_s: float) -> list[tuple[int, int, int]]:
    """Return the options of direct connections.

    With `alive_s`, the kernel probes a silent connection each second, and ends it when its host has not answered for
    that many seconds: it is off, or its network is. A host that answers may take any time to send more.
    """
    plain = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]  # urllib3's own
    if not alive_s:
        return plain
    probes = ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_USER_TIMEOUT, int(1000 * alive_s) - 500))
    return [*plain, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *((socket.IPPROTO_TCP, *one) for one in probes)]


def of_origin(manager: urllib3.PoolManager, url: str) -> tuple[HTTPConnectionPool | urllib3.PoolManager, str]:
    """Return the pool of direct connections to the origin of `url`, and what to request over them.

    A PoolManager parses each URL twice, which is much of the cost of a small file. This returns the manager itself for
    a URL that it would normalize.
    """
    found = _PLAIN_URL.fullmatch(url)
    if found is None:
        return manager, url
    scheme, host, port, path = found.groups()
    return manager.connection_from_host(host, int(port) if port else None, scheme), path


def pool_classes(race: Race, fence: Fence | None) -> dict[str, type[HTTPConnectionPool]]:
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
            if isinstance(line, TlsSocket) and isinstance(line.context, ResumingContext):
                line.context.remember(line)
            return attach_socket(response, line)

        def connect(self) -> None:
            if fence is not None:
                fence.check_host(self.host, self.port or 0)
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
