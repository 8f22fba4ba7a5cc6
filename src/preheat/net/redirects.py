"""Redirects: the next request of a redirected one, without credentials for another origin."""

import contextlib
import re
from collections.abc import Mapping
from urllib.parse import urljoin

import urllib3
from urllib3 import exceptions

from preheat.net.response import ending, socket_of

_CREDENTIALS = frozenset(("authorization", "cookie", "proxy-authorization"))
_REST_S = 1.0  # for the rest of a redirect's response


def follow(url: str, location: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Return the address and headers of the next request. Raise ValueError for an invalid address."""
    to = urljoin(url, location)
    if same_origin(to, url):
        return to, headers
    return to, {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}


def let_go(response: urllib3.BaseHTTPResponse) -> None:
    """Discard a response; a short body that arrives soon is read, so that the connection can be reused."""
    length = response.headers.get("Content-Length", "")
    if socket_of(response) is not None and re.fullmatch("[0-9]{1,5}", length):
        with contextlib.suppress(exceptions.HTTPError, OSError, ValueError), ending(response, _REST_S):
            response.read(decode_content=False)
            response.release_conn()
            return
    response.close()


def same_origin(one: str, other: str) -> bool:
    """Return whether two URLs have the same scheme, host and port."""
    first, second = (urllib3.util.parse_url(url) for url in (one, other))
    default = {"http": 80, "https": 443}
    return (first.scheme, first.host, first.port or default.get(first.scheme or "")) == (
        second.scheme,
        second.host,
        second.port or default.get(second.scheme or ""),
    )
