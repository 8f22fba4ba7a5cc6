"""Network errors: convert exceptions of urllib3, TLS and proxies; temporary ones become HubUnavailable."""

import http.client
import re
import ssl
import time
from collections.abc import Mapping

import urllib3
from urllib3 import exceptions

from preheat.core.errors import HubError, HubUnavailable, NoTls
from preheat.net.proxies import Proxy

_UP = "check that it is up and reachable, or try another: --endpoint hf=URL"
_AGAIN = "try again, or another: --endpoint hf=URL"
_CUT = "closed the connection before the end of its response"
_NO_NAME = "check that this machine is online and the name is right, or try another: --endpoint hf=URL"
_WRONG_TIMES = frozenset((9, 10))  # X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED of OpenSSL
# OpenSSL's reasons for a response that is not TLS.
_NO_TLS = frozenset(("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "UNKNOWN_PROTOCOL"))
# Proxies that send their own error pages in place of the hub's response.
_PROXY_WORDS = re.compile(r"\b(squid|tinyproxy|privoxy|zscaler|bluecoat|mcafee web gateway)\b", re.IGNORECASE)
_LATER = frozenset((408, 429, 500, 502, 503, 504))


def hub_error(url: str, error: Exception, proxy: Proxy | None = None) -> HubError:
    """Return the HubError for an exception raised while connecting to `url` or reading its response."""
    cause: BaseException = error.reason if isinstance(error, exceptions.MaxRetryError) and error.reason else error
    host = host_of(url)
    if isinstance(cause, exceptions.ResponseError):
        return HubError(f"{host} redirects without end", hint="check the endpoint, or try another --endpoint")
    if proxy is not None and isinstance(cause, exceptions.ProxyError):
        return _proxy_error(host, cause.original_error, proxy)
    if isinstance(cause, (exceptions.SSLError, ssl.SSLError)):
        return _tls_error(host, cause)
    refused = isinstance(cause, exceptions.NewConnectionError)  # a subclass of urllib3's timeout error
    if proxy is not None and refused and proxy.is_socks:
        return HubUnavailable(
            f"the proxy {proxy.url} cannot connect to {host}", hint=f"check {proxy.variable} and no_proxy"
        )
    late = isinstance(cause, (exceptions.TimeoutError, TimeoutError)) and not refused
    if proxy is None and isinstance(cause, exceptions.NameResolutionError):
        return HubUnavailable(f"{host}: its name was not found in DNS", hint=_NO_NAME, unresolved=True)
    ending = "does not answer in time" if late else _how_it_ended(cause)
    if is_malformed(error):
        ending = "answers with invalid HTTP"
    answered = ending in ("answers with invalid HTTP", _CUT)
    if proxy is None:
        return HubUnavailable(f"{host} {ending}", hint=_AGAIN if answered else _UP, silent=late, answered=answered)
    return HubUnavailable(
        f"{host} {ending} through the proxy {proxy.url}",
        hint=f"check {proxy.variable}, or add the host to no_proxy to reach it directly",
        silent=late,
        answered=answered,
    )


def _how_it_ended(error: BaseException) -> str:
    """Describe how the server ended the connection, or that none was made: the rest of a sentence about the host."""
    found = [error, *(inner for inner in (*error.args, error.__cause__, error.__context__) if inner is not None)]
    text = " ".join(str(one) for one in found)
    if any(isinstance(one, ConnectionResetError | BrokenPipeError) for one in found):
        return "reset the connection"
    if any(isinstance(one, http.client.RemoteDisconnected) for one in found):
        return "closed the connection without a response"
    if any(isinstance(one, http.client.IncompleteRead | exceptions.IncompleteRead) for one in found):
        return _CUT
    refused = "Connection refused" in text
    return f"does not answer{' (connection refused)' if refused else ''}"


def is_malformed(error: BaseException) -> bool:
    """Return whether urllib3's exception is about a response that is not valid HTTP."""
    if isinstance(error, (exceptions.InvalidHeader, exceptions.InvalidChunkLength, exceptions.DecodeError)):
        return True
    if any(isinstance(one, exceptions.InvalidChunkLength) for one in error.args):
        return True
    inner = error.args[1] if isinstance(error, exceptions.ProtocolError) and len(error.args) > 1 else None
    return isinstance(inner, http.client.HTTPException) and not isinstance(inner, (OSError, http.client.IncompleteRead))


def refused_by_proxy(url: str, status: int, headers: Mapping[str, str], proxy: Proxy) -> HubError | None:
    """Return the error for a plain HTTP response that comes from the proxy itself; None if it is the hub's."""
    ending = {name.lower(): value for name, value in headers.items()}
    own = "x-squid-error" in ending or _PROXY_WORDS.search(ending.get("server", "")) is not None
    if status == 407 or (own and status in (401, 403, *_LATER)):
        return _refused(host_of(url), status, proxy)
    return None


def host_of(url: str) -> str:
    """Return scheme, host and port, without user and password; empty for an invalid address."""
    try:
        address = urllib3.util.parse_url(url)
    except exceptions.LocationValueError:
        return ""
    return f"{address.scheme}://{address.netloc}"


def _proxy_error(host: str, error: BaseException, proxy: Proxy) -> HubError:
    if found := re.search(r"Tunnel connection failed: (\d{3})", str(error)):
        return _refused(host, int(found[1]), proxy)
    if isinstance(error, (exceptions.SSLError, ssl.SSLError)):
        inner = error.args[0] if isinstance(error, exceptions.SSLError) and error.args else error
        if isinstance(inner, ssl.SSLError) and inner.reason in _NO_TLS:
            return HubError(
                f"the proxy {proxy.url} does not support TLS", hint=f"{proxy.variable}=http://{_host_and_port(proxy)}"
            )
        return _tls_error(f"the proxy {proxy.url}", error)
    late = isinstance(error, (exceptions.TimeoutError, TimeoutError))
    refused = isinstance(error, exceptions.NewConnectionError)
    ending = "does not answer in time" if late and not refused else "does not answer"
    return HubUnavailable(
        f"the proxy {proxy.url} on the way to {host} {ending}",
        hint=f"check {proxy.variable}, or add the host to no_proxy to reach it directly",
    )


def _refused(host: str, status: int, proxy: Proxy) -> HubError:
    what = f"the proxy {proxy.url}"
    # tinyproxy responds with 401 to a wrong password.
    if status in (401, 407):
        known = proxy.user or proxy.password
        why = "rejects the user or password" if known else "requires a user and a password"
        return HubError(
            f"{what} {why} (status {status})",
            hint=f"{proxy.variable}={proxy.scheme}://USER:PASSWORD@{_host_and_port(proxy)}, with @ : / as %40 %3A %2F",
        )
    if status in _LATER:
        return HubUnavailable(
            f"{what} cannot reach {host} (status {status})",
            hint="check that the hub is up, or try another --endpoint hf=URL or another proxy",
            status=status,
        )
    return HubError(
        f"{what} refuses to connect to {host} (status {status})",
        hint="ask the proxy's administrator to allow it, or use a hub that it allows: --endpoint hf=URL",
    )


def _host_and_port(proxy: Proxy) -> str:
    return proxy.url.partition("://")[2]


def _tls_error(what: str, error: BaseException) -> HubError:
    """Return the error for a TLS failure: no TLS at all, an untrusted certificate, or a broken connection."""
    inner = error.args[0] if isinstance(error, exceptions.SSLError) and error.args else error
    if isinstance(inner, ssl.SSLError) and inner.reason in _NO_TLS:
        return NoTls(f"{what} does not support TLS", hint="check whether it is an http:// address")
    # For a certificate with another host name, urllib3 raises SSLError without an exception of ssl.
    untrusted = isinstance(inner, ssl.SSLCertVerificationError) or not isinstance(inner, (ssl.SSLError, OSError))
    if untrusted:
        why = getattr(inner, "verify_message", "")
        if getattr(inner, "verify_code", 0) in _WRONG_TIMES:
            now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
            return HubError(
                f"{what} shows a certificate that is not valid at the time of this machine, {now}: {why}",
                hint="check the machine's clock: date; if it is right, the server's certificate must be renewed",
            )
        return HubError(
            f"{what} shows a certificate that is not trusted{f': {why}' if why else ''}",
            hint="set SSL_CERT_FILE to your CA's file",
        )
    return HubUnavailable(f"{what} closed the TLS connection", hint=_UP)
