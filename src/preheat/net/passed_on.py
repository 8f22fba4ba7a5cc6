"""Passed on: a response that is forwarded as it is, for a proxy."""

from collections.abc import Iterator

import urllib3
from urllib3 import exceptions

from preheat.net.network_errors import hub_error
from preheat.net.proxies import Proxy

_PIECE = 256 << 10


class PassedOn:
    """A response in progress, neither decoded nor redirected; always close it."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str, proxy: Proxy | None) -> None:
        self._response, self._url, self._proxy = response, url, proxy
        self.status = response.status
        self.reason = response.reason or ""
        self.headers = response.headers

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it arrives, without the transfer's chunks. Raise HubUnavailable if it breaks off."""
        try:
            while piece := self._response.read1(_PIECE, decode_content=False):
                yield piece
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise hub_error(self._url, error, self._proxy) from error
        self._response.release_conn()

    def close(self) -> None:
        """Close the response; unless it was read to its end, its connection is closed too."""
        self._response.close()
