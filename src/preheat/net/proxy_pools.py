"""Proxy pools: connection pools through a proxy, by CONNECT, as plain requests, or over SOCKS."""

import importlib.util
from typing import Any

import urllib3

from preheat.core.errors import UsageError
from preheat.net.proxies import Proxy


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
