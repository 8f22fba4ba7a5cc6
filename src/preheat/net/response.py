"""Response: an HTTP response in progress, read into a buffer or spliced into a pipe."""

import contextlib
import fcntl
import http.client
import socket
import ssl
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
# What is poured leaves so much to be read: the standard library then sees the end of the answer that it waits for.
_LAST = 512 << 10


class Meter:
    """A sum that many threads add to."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.total = 0

    def add(self, count: int) -> None:
        """Add to it."""
        with self._turn:
            self.total += count


class Stream:
    """A large answer, on its way; it came from `landed`, which is another address than was asked after a redirect."""

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
        # urllib3 reads into bytes of its own and copies; below it lies the standard library's reader, which does not.
        # Only for bodies of a told length: of others it cannot tell an end from a break.
        below = getattr(response, "_fp", None)
        told = isinstance(below, http.client.HTTPResponse) and below.length is not None
        self._plain: http.client.HTTPResponse | None = below if told else None
        self._doze = _Doze(response)
        self._pours = told and self._doze.plain
        self._bare = False

    def readinto(self, buffer: memoryview) -> int:
        """See preheat.hubs.hub.Reader. Raise HubUnavailable when the line breaks, even if it breaks politely."""
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
        """See preheat.hubs.hub.Reader. Only plain answers of a told length can be poured, and not their ends."""
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
        """Pour what waits in the standard library's buffer; peek fills that if it is empty."""
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

    def close(self) -> None:
        """Let go; an answer that was not read to its end takes its connection with it."""
        self._response.close()


class _Doze:
    """Lets a reader sleep until there is enough to get up for, instead of waking it for every packet.

    With hundreds of connections that is most of what a pull costs. See SO_RCVLOWAT in socket(7): poll(2) minds it since
    Linux 2.6.28; Windows and TLS, which reads in records, go without.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        line = getattr(response.connection, "sock", None)
        self._tls = line if isinstance(line, TlsSocket) else None
        plain = sys.platform == "linux" and isinstance(line, socket.socket) and not isinstance(line, ssl.SSLSocket)
        self._line: socket.socket | None = line if plain else None
        self._enough = 1
        self._waiting = bytearray(4)

    @property
    def plain(self) -> bool:
        """Whether it can do any of this."""
        return self._line is not None

    @property
    def found_all(self) -> bool:
        """Whether the last read of a TLS connection found its bytes waiting."""
        return self._tls is not None and not self._tls.waited

    def has(self, size: int) -> bool:
        """Whether so much of the answer waits already as a read of `size` bytes would get up for."""
        if self._line is None:
            return False
        fcntl.ioctl(self._line, termios.FIONREAD, self._waiting)
        return int.from_bytes(self._waiting, sys.byteorder) >= (self._enough if self._enough > 1 else size)

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
        self.until(enough)
        return buffer

    def until(self, enough: int) -> None:
        """Get up for so many bytes, or for the end."""
        if self._line is not None and enough != self._enough:
            self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
            self._enough = enough

    def pour(self, pipe: Pipe, most: int) -> int:
        """Wait, and move up to `most` bytes on; raise TimeoutError if none come."""
        if self._line is None:
            return 0
        while True:
            wait_readable(self._line, self._line.gettimeout())
            with contextlib.suppress(BlockingIOError):
                count = pipe.take_in(self._line.fileno(), most)
                note_received()
                return count
