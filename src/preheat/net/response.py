"""Response: an HTTP response in progress, read into a buffer."""

import contextlib
import fcntl
import http.client
import socket
import ssl
import struct
import sys
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TypeVar

import urllib3
from urllib3 import exceptions

from preheat.net.interruptible_sockets import TlsSocket, Waits
from preheat.net.network_errors import hub_error
from preheat.net.proxies import Proxy

_LITTLE, _ENOUGH = 32 << 10, 256 << 10
_TCP_INFO, _RTT, _RCV_RTT = 104, 68, 92  # bytes of struct tcp_info, and offsets in it
_ERROR_BODY_S = 3.0  # for the body of an error
_PIECE = 256 << 10
_RECORD = 17 << 10  # a TLS record: 16 KiB and its frame (RFC 8446, 5.2)


class Meter:
    """A thread-safe counter."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.total = 0

    def add(self, count: int) -> None:
        """Add `count` to the total."""
        with self._turn:
            self.total += count


Response = TypeVar("Response", bound=urllib3.BaseHTTPResponse)


def attach_socket(response: Response, line: Waits | None) -> Response:
    """Store the socket `line` in a response: urllib3 drops it if the server is about to close the connection."""
    response.line = line  # type: ignore[attr-defined]
    return response


def socket_of(response: urllib3.BaseHTTPResponse) -> Waits | None:
    """Return the socket stored in a response; None if it does not support deadlines, as over SOCKS."""
    line = getattr(response, "line", None)
    return line if isinstance(line, Waits) else None


@contextlib.contextmanager
def ending(response: urllib3.BaseHTTPResponse, within_s: float) -> Iterator[None]:
    """Raise TimeoutError in reads of the response after `within_s` seconds."""
    line = socket_of(response)
    if line is None:
        yield
        return
    line.until = time.monotonic() + within_s
    try:
        yield
    finally:
        line.until = None


class Stream:
    """A large response in progress; `landed` is its address after redirects."""

    prompt = False

    def __init__(
        self, response: urllib3.BaseHTTPResponse, landed: str, meter: Meter, proxy: Proxy | None = None
    ) -> None:
        self._response = response
        self._meter = meter
        self._proxy = proxy
        self.status = response.status
        self.landed = landed
        self.headers: Mapping[str, str] = response.headers
        # Read with the standard library's reader below urllib3, which avoids a copy. Only for bodies with a known
        # length: for others, it cannot distinguish EOF from a broken connection.
        below = getattr(response, "_fp", None)
        has_length = isinstance(below, http.client.HTTPResponse) and below.length is not None
        self._plain: http.client.HTTPResponse | None = below if has_length else None
        self._threshold = _ReadThreshold(response)

    def readinto(self, buffer: memoryview) -> int:
        """See preheat.hubs.hub.Reader. Raise HubUnavailable if the connection breaks or is closed early."""
        try:
            if self._plain is not None:
                buffer = self._threshold.over(buffer, self._plain.length or 0)
                waits = self._threshold.has(len(buffer))
                count = self._plain.readinto(buffer)
                self.prompt = waits or self._threshold.found_all
            else:
                count = self._response.readinto(buffer)
        except (exceptions.HTTPError, OSError, ValueError, http.client.HTTPException) as error:
            raise hub_error(self.landed, error, self._proxy) from error
        self._meter.add(count)
        if self._plain is not None and self._plain.isclosed():
            self._response.release_conn()
        return count

    def read_start(self, most: int) -> bytes:
        """Return up to `most` bytes of an error's body, not decompressed; fewer if the rest does not arrive in time."""
        body = bytearray()
        with contextlib.suppress(exceptions.HTTPError, OSError, ValueError), ending(self._response, _ERROR_BODY_S):
            while len(body) < most and (piece := self._response.read1(most - len(body), decode_content=False)):
                body += piece
        return bytes(body)

    @property
    def round_trip_s(self) -> float:
        """See preheat.hubs.hub.Reader."""
        return self._threshold.round_trip_s

    def close(self) -> None:
        """Close the response; unless it was read to its end, its connection is closed too."""
        self._response.close()


class _ReadThreshold:
    """Wake a blocked reader only when enough bytes have arrived, not for every packet.

    With hundreds of connections, these wake-ups are most of the CPU cost of a pull. Uses SO_RCVLOWAT (socket(7)), which
    poll(2) supports since Linux 2.6.28. Under TLS it counts the encrypted bytes, of which a part of one record may
    already be in OpenSSL's buffer.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        line = getattr(response.connection, "sock", None)
        self._tls = line if isinstance(line, TlsSocket) else None
        known = self._tls is not None or not isinstance(line, ssl.SSLSocket)
        self._line = line if sys.platform == "linux" and isinstance(line, socket.socket) and known else None
        self._enough = 1
        self._waiting = bytearray(4)

    @property
    def found_all(self) -> bool:
        """Whether the last read of a TLS connection did not have to wait."""
        return self._tls is not None and not self._tls.waited

    @property
    def round_trip_s(self) -> float:
        """The connection's current round-trip time in seconds, including queueing; 0 if the kernel does not report it.

        It is the larger of tcp_info's tcpi_rtt and tcpi_rcv_rtt (linux/tcp.h). The kernel measures tcpi_rcv_rtt from
        received data.
        """
        if self._line is None:
            return 0.0
        try:
            info = self._line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO)
        except OSError:
            return 0.0
        if len(info) < _TCP_INFO:
            return 0.0
        own_us: int = struct.unpack_from("I", info, _RTT)[0]
        received_us: int = struct.unpack_from("I", info, _RCV_RTT)[0]
        return max(own_us, received_us) / 1e6

    def has(self, size: int) -> bool:
        """Whether enough bytes have arrived, so that a read of `size` bytes would not wait."""
        if self._line is None:
            return False
        fcntl.ioctl(self._line, termios.FIONREAD, self._waiting)
        return int.from_bytes(self._waiting, sys.byteorder) >= (self._enough if self._enough > 1 else size)

    def over(self, buffer: memoryview, left: int) -> memoryview:
        """Return the part of `buffer` to fill next, when `left` bytes of the body remain, and set the wake-up size.

        The standard library may wait several times to fill one buffer, so the body must have at least one wake-up size
        left after it; otherwise the last wait would time out.
        """
        if self._line is None:
            return buffer
        enough = min(len(buffer) // 2, _ENOUGH)
        if enough >= _LITTLE and left >= 2 * enough:
            buffer = buffer[: left - enough]
        else:
            enough = 1
        self.until(enough)
        return buffer

    def until(self, enough: int) -> None:
        """Set the wake-up size: wake at `enough` bytes or EOF."""
        if self._line is not None and enough != self._enough:
            sure = enough if self._tls is None else max(enough - _RECORD, 1)
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, sure)
            self._enough = enough


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
