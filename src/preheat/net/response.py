"""Response: an HTTP response in progress, read into a buffer or spliced into a pipe."""

import contextlib
import fcntl
import http.client
import socket
import ssl
import struct
import sys
import termios
import threading
from collections.abc import Mapping

import urllib3
from urllib3 import exceptions

from preheat.disk.splice import CANNOT, Pipe
from preheat.net.interrupt import note_received, wait_readable
from preheat.net.interruptible_sockets import TlsSocket
from preheat.net.network_errors import trouble
from preheat.net.proxies import Proxy

_LITTLE, _ENOUGH = 32 << 10, 256 << 10
# The last bytes are read, not spliced, so that the standard library sees the end of the response.
_LAST = 512 << 10
_TCP_INFO, _RTT, _RCV_RTT = 104, 68, 92  # bytes of struct tcp_info, and offsets in it


class Meter:
    """A thread-safe counter."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.total = 0

    def add(self, count: int) -> None:
        """Add `count` to the total."""
        with self._turn:
            self.total += count


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
        told = isinstance(below, http.client.HTTPResponse) and below.length is not None
        self._plain: http.client.HTTPResponse | None = below if told else None
        self._doze = _Doze(response)
        self._pours = told and self._doze.plain
        self._bare = False

    def readinto(self, buffer: memoryview) -> int:
        """See preheat.hubs.hub.Reader. Raise HubUnavailable if the connection breaks or is closed early."""
        try:
            if self._plain is not None:
                buffer = self._doze.over(buffer, self._plain.length or 0)
                waits = self._doze.has(len(buffer))
                count = self._plain.readinto(buffer)
                self.prompt = waits or self._doze.found_all
                self._bare = False
            else:
                count = self._response.readinto(buffer)
        except (exceptions.HTTPError, OSError, ValueError, http.client.HTTPException) as error:
            raise trouble(self.landed, error, self._proxy) from error
        self._meter.add(count)
        if self._plain is not None and self._plain.isclosed():
            self._response.release_conn()
        return count

    def pour(self, pipe: Pipe, most: int) -> int:
        """See preheat.hubs.hub.Reader. Return 0 with TLS, for bodies of unknown length, and near the end of a body."""
        plain = self._plain
        if plain is None or not self._pours or (plain.length or 0) < 2 * _LAST:
            return 0
        most = min(most, (plain.length or 0) - _LAST)
        try:
            count = self._poured(plain, pipe, most) if self._bare else self._front(plain, pipe, most)
        except (exceptions.HTTPError, OSError, ValueError, http.client.HTTPException) as error:
            self._pours = False
            if isinstance(error, OSError) and error.errno in CANNOT:
                return 0
            raise trouble(self.landed, error, self._proxy) from error
        self._meter.add(count)
        return count

    def _front(self, plain: http.client.HTTPResponse, pipe: Pipe, most: int) -> int:
        """Move the standard library's buffer into the pipe; `peek` fills it if it is empty."""
        front = plain.fp.peek()
        if len(front) > most:
            return 0
        self._bare = True
        pipe.put_in(plain.read(len(front)))
        return len(front)

    def _poured(self, plain: http.client.HTTPResponse, pipe: Pipe, most: int) -> int:
        self._doze.until(min(most // 2, _ENOUGH))
        self.prompt = self._doze.has(most)
        count = self._doze.pour(pipe, most)
        plain.length = (plain.length or 0) - count
        return count

    @property
    def round_trip_s(self) -> float:
        """See preheat.hubs.hub.Reader."""
        return self._doze.round_trip_s

    def close(self) -> None:
        """Close the response; unless it was read to its end, its connection is closed too."""
        self._response.close()


class _Doze:
    """Wake a reader only when enough bytes have arrived, not for every packet.

    With hundreds of connections, these wake-ups are most of the CPU cost of a pull. Uses SO_RCVLOWAT (socket(7)), which
    poll(2) supports since Linux 2.6.28; it has no effect on Windows and on TLS, which is read in records.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        line = getattr(response.connection, "sock", None)
        self._tcp = line if isinstance(line, socket.socket) else None
        self._tls = line if isinstance(line, TlsSocket) else None
        plain = sys.platform == "linux" and isinstance(line, socket.socket) and not isinstance(line, ssl.SSLSocket)
        self._line: socket.socket | None = line if plain else None
        self._enough = 1
        self._waiting = bytearray(4)

    @property
    def plain(self) -> bool:
        """Whether the connection supports it: a plain TCP socket on Linux."""
        return self._line is not None

    @property
    def found_all(self) -> bool:
        """Whether the last read of a TLS connection found its bytes waiting."""
        return self._tls is not None and not self._tls.waited

    @property
    def round_trip_s(self) -> float:
        """The connection's current round trip in seconds, with its time in queues; 0 if the kernel does not report it.

        The larger of tcp_info's tcpi_rtt and tcpi_rcv_rtt (linux/tcp.h): the latter is measured on what it receives.
        """
        if sys.platform != "linux" or self._tcp is None:
            return 0.0
        try:
            told = self._tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO)
        except OSError:
            return 0.0
        if len(told) < _TCP_INFO:
            return 0.0
        own_us: int = struct.unpack_from("I", told, _RTT)[0]
        received_us: int = struct.unpack_from("I", told, _RCV_RTT)[0]
        return max(own_us, received_us) / 1e6

    def has(self, size: int) -> bool:
        """Whether enough bytes have already arrived to wake a read of `size` bytes."""
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
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
            self._enough = enough

    def pour(self, pipe: Pipe, most: int) -> int:
        """Wait, then move up to `most` bytes into the pipe; return how many. Raise TimeoutError if none arrive."""
        if self._line is None:
            return 0
        while True:
            wait_readable(self._line, self._line.gettimeout())
            with contextlib.suppress(BlockingIOError):
                count = pipe.take_in(self._line.fileno(), most)
                note_received()
                return count
