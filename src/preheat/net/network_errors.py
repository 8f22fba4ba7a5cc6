"""Network errors: convert exceptions of urllib3, TLS and proxies; only what can pass is HubUnavailable."""

import re
import ssl
from collections.abc import Mapping

import urllib3
from urllib3 import exceptions

from preheat.core.errors import HubError, HubUnavailable
from preheat.net.proxies import Proxy

_UP = "is it up, and reachable from here? try --endpoint hf=URL for another"
_NO_NAME = "is this machine online? then check the name, or try --endpoint hf=URL for another"
# What OpenSSL calls an answer that is no TLS.
_NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL"))
# Programs that answer in their own name, where the hub would be expected to.
_PROXY_WORDS = re.compile(r"\b(squid|tinyproxy|privoxy|zscaler|bluecoat|mcafee web gateway)\b", re.IGNORECASE)
_LATER = frozenset((408, 429, 500, 502, 503, 504))


def trouble(url: str, error: Exception, proxy: Proxy | None = None) -> HubError:
    """Put what was raised on the way to `url`, or while its answer was read, into one line of ours."""
    cause: BaseException = error.reason if isinstance(error, exceptions.MaxRetryError) and error.reason else error
    host = host_of(url)
    if isinstance(cause, exceptions.ResponseError):
        return HubError(f"{host} redirects without end", hint="is the endpoint right? try another --endpoint")
    if proxy is not None and isinstance(cause, exceptions.ProxyError):
        return _proxy_trouble(host, cause.original_error, proxy)
    if isinstance(cause, (exceptions.SSLError, ssl.SSLError)):
        return _tls_trouble(host, cause)
    refused = isinstance(cause, exceptions.NewConnectionError)  # which urllib3 counts among the timeouts
    if proxy is not None and refused and proxy.is_socks:
        return HubUnavailable(
            f"the proxy {proxy.url} does not connect to {host}", hint=f"check {proxy.variable} and no_proxy"
        )
    late = isinstance(cause, (exceptions.TimeoutError, TimeoutError)) and not refused
    if proxy is None and isinstance(cause, exceptions.NameResolutionError):
        return HubUnavailable(f"{host} has no address: its name was not found", hint=_NO_NAME)
    said = "does not answer in time" if late else "does not answer"
    if proxy is None:
        return HubUnavailable(f"{host} {said}", hint=_UP, silent=late)
    return HubUnavailable(
        f"{host} {said} through the proxy {proxy.url}",
        hint=f"check {proxy.variable}, or add the host to no_proxy to reach it directly",
        silent=late,
    )


def refused_by_proxy(url: str, status: int, headers: Mapping[str, str], proxy: Proxy) -> HubError | None:
    """Return the error for an answer over plain HTTP that is the proxy's own and not the hub's; None for others."""
    said = {name.lower(): value for name, value in headers.items()}
    own = "x-squid-error" in said or _PROXY_WORDS.search(said.get("server", "")) is not None
    if status == 407 or (own and status in (401, 403, *_LATER)):
        return _refused(host_of(url), status, proxy)
    return None


def host_of(url: str) -> str:
    """Return scheme, host and port, without user and password; nothing if it is no address."""
    try:
        address = urllib3.util.parse_url(url)
    except exceptions.LocationValueError:
        return ""
    return f"{address.scheme}://{address.netloc}"


def _proxy_trouble(host: str, error: BaseException, proxy: Proxy) -> HubError:
    if found := re.search(r"Tunnel connection failed: (\d{3})", str(error)):
        return _refused(host, int(found[1]), proxy)
    if isinstance(error, (exceptions.SSLError, ssl.SSLError)):
        inner = error.args[0] if isinstance(error, exceptions.SSLError) and error.args else error
        if isinstance(inner, ssl.SSLError) and inner.reason in _NO_TLS:
            return HubError(
                f"the proxy {proxy.url} does not speak TLS", hint=f"{proxy.variable}=http://{_place(proxy)}"
            )
        return _tls_trouble(f"the proxy {proxy.url}", error)
    late = isinstance(error, (exceptions.TimeoutError, TimeoutError))
    refused = isinstance(error, exceptions.NewConnectionError)
    said = "does not answer in time" if late and not refused else "does not answer"
    return HubUnavailable(
        f"the proxy {proxy.url} on the way to {host} {said}",
        hint=f"check {proxy.variable}, or add the host to no_proxy to reach it directly",
    )


def _refused(host: str, status: int, proxy: Proxy) -> HubError:
    what = f"the proxy {proxy.url}"
    # tinyproxy answers a wrong password with 401.
    if status in (401, 407):
        known = proxy.user or proxy.password
        why = "rejects the user or password" if known else "requires a user and a password"
        return HubError(
            f"{what} {why} (status {status})",
            hint=f"{proxy.variable}={proxy.scheme}://USER:PASSWORD@{_place(proxy)}, with @ : / as %40 %3A %2F",
        )
    if status in _LATER:
        return HubUnavailable(
            f"{what} cannot reach {host} (status {status})",
            hint="is the hub up? try --endpoint hf=URL for another, or another proxy",
            status=status,
        )
    return HubError(
        f"{what} refuses to connect to {host} (status {status})",
        hint="ask whoever runs the proxy to allow it, or try --endpoint hf=URL for a hub that it allows",
    )


def _place(proxy: Proxy) -> str:
    return proxy.url.partition("://")[2]


def _tls_trouble(what: str, error: BaseException) -> HubError:
    """Tell a certificate that is not trusted from a server that speaks no TLS, and both from a broken connection."""
    inner = error.args[0] if isinstance(error, exceptions.SSLError) and error.args else error
    if isinstance(inner, ssl.SSLError) and inner.reason in _NO_TLS:
        return HubError(f"{what} does not speak TLS", hint="is it an http:// address?")
    # urllib3 says so of names that do not fit, without an error of ssl's.
    untrusted = isinstance(inner, ssl.SSLCertVerificationError) or not isinstance(inner, (ssl.SSLError, OSError))
    if untrusted:
        why = getattr(inner, "verify_message", "")
        return HubError(
            f"{what} shows a certificate that is not trusted here{f': {why}' if why else ''}",
            hint="set SSL_CERT_FILE to your CA's file",
        )
    return HubUnavailable(f"{what} ends the TLS connection", hint=_UP)
