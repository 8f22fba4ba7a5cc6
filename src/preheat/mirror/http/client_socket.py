"""Client socket: read until a deadline, send at no less than a minimum rate."""

import contextlib
import os
import select
import socket
import ssl
import struct
import sys
import time

from preheat.mirror.http.lead import about_to_wait
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.request_head import end_of_head
from preheat.mirror.http.slow_clients import SendRate

_READ = 65_536
# Maximum bytes for each sendfile call; it returns earlier if the client's window is full.
_SEND = 16 * 1024 * 1024
_COPY = 256 * 1024
_LOOK_S = 0.5
_LOOK = 0, 500_000  # the same as a timeval: socket(7), SO_SNDTIMEO
_MORE = socket.MSG_MORE if sys.platform == "linux" else 0


class TooLong(Exception):
    """The request head is too long; `line` means that its first line is."""

    def __init__(self, *, line: bool) -> None:
        super().__init__(line)
        self.line = line


class Wire:
    """A plain or TLS connection. Raise TimeoutError if the client is too slow, OSError if it has disconnected."""

    def __init__(self, connection: socket.socket, limits: ServerLimits) -> None:
        self._socket: socket.socket = connection
        self._limits = limits
        self._received = bytearray()
        self._begun = False
        self._pace = SendRate(limits)
        connection.settimeout(0)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", *_LOOK))

    @property
    def secure(self) -> bool:
        """Whether the connection uses TLS."""
        return isinstance(self._socket, ssl.SSLSocket)

    def greet(self, tls: ssl.SSLContext) -> bool:
        """Perform the TLS handshake; return False if the client speaks plain HTTP."""
        deadline = time.monotonic() + self._limits.head_s
        self._wait(select.POLLIN, deadline)
        if self._socket.recv(1, socket.MSG_PEEK) not in (b"\x16", b""):
            return False
        secured = tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = secured
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, deadline)
            else:
                return True

    @property
    def socket(self) -> socket.socket:
        """The socket, to wait for its next bytes."""
        return self._socket

    # ---- receiving

    def has_more(self) -> bool:
        """Whether another request was received already; the socket does not become readable for it."""
        if self._received and self._end():
            return True
        # What is decrypted already; the rest is in the socket.
        return isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0 and self.read_ahead()

    def read_ahead(self) -> bool:
        """Read what has arrived of a request's head, without waiting; return whether a thread can go on with it."""
        try:
            more = self._socket.recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        self._take(more)
        return not more or len(self._received) > self._limits.head_size or bool(self._end())

    @property
    def begun(self) -> bool:
        """Whether a request has begun to arrive, be it by an empty line."""
        return self._begun

    def _take(self, more: bytes) -> None:
        self._received += more
        self._begun = True

    def _give(self, count: int) -> bytes:
        given = bytes(self._received[:count])
        del self._received[:count]
        self._begun = bool(self._received)
        return given

    def head(self) -> bytes:
        """Read a request's head; b"" if the client disconnects first. Raise TooLong if it exceeds the limit."""
        deadline = time.monotonic() + (self._limits.head_s if self._begun else self._limits.idle_s)
        while not (end := self._end()):
            if len(self._received) > self._limits.head_size:
                raise TooLong(line=b"\n" not in self._received)
            begun = self._begun
            more = self._receive(deadline)
            if not more:
                if self._received:
                    raise ConnectionResetError("the client disconnected in the middle of its request")
                return b""
            self._take(more)
            if not begun:
                deadline = time.monotonic() + self._limits.head_s
        head = self._give(end)
        if len(head) > self._limits.head_size:
            raise TooLong(line=b"\n" not in head[: self._limits.head_size])
        return head

    def body(self, length: int) -> bytes:
        """Read `length` bytes."""
        deadline = time.monotonic() + self._limits.body_s
        while len(self._received) < length:
            more = self._receive(deadline)
            if not more:
                raise ConnectionResetError("the client disconnected in the middle of its request")
            self._received += more
        return self._give(length)

    def _end(self) -> int:
        # Empty lines before a request are ignored (RFC 9112 section 2.2), but not for its deadline.
        while self._received[:2] == b"\r\n":
            del self._received[:2]
        return end_of_head(self._received)

    def _receive(self, deadline: float) -> bytes:
        while True:
            try:
                return self._socket.recv(_READ)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN, deadline)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, deadline)

    # ---- sending

    def send(self, data: bytes, *, more: bool = False) -> None:
        """Send bytes; `more` means that further bytes follow at once."""
        flags = _MORE if more and not self.secure else 0
        try:
            count = self._socket.send(data, flags)  # all of it, unless the client receives slowly
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            count = 0
        self._pace.sent += count
        if count < len(data):
            self._send_rest(memoryview(data)[count:], flags)

    def _send_rest(self, left: memoryview, flags: int) -> None:
        with self._pace.sending(self._socket):
            while left:
                try:
                    count = self._socket.send(left, flags)
                except (BlockingIOError, ssl.SSLWantWriteError):
                    self._stall(select.POLLOUT)
                except ssl.SSLWantReadError:
                    self._stall(select.POLLIN)
                else:
                    self._pace.sent += count
                    left = left[count:]

    def send_file(self, source: int, start: int, stop: int) -> int:
        """Send bytes of an open file, by its descriptor; return how many were sent, fewer if the file is shorter.

        Over plain HTTP, the kernel copies from the page cache to the socket; over TLS, the bytes pass through this
        process.
        """
        if self.secure:
            return self._send_copied(source, start, stop)
        out, at = self._socket.fileno(), start
        if stop - start > _READ:
            about_to_wait()
        # Block in few calls instead of waking for each window that opens; SO_SNDTIMEO makes them return for `look`.
        self._socket.settimeout(None)
        try:
            with self._pace.sending(self._socket):
                while at < stop:
                    try:
                        count = os.sendfile(out, source, at, min(_SEND, stop - at))
                    except BlockingIOError:
                        count = None
                    if count == 0:
                        break
                    at += count or 0
                    self._pace.sent += count or 0
                    self._pace.look(self._socket)
        finally:
            self._socket.settimeout(0)
        return at - start

    def _send_copied(self, source: int, start: int, stop: int) -> int:
        at = start
        while at < stop and (data := os.pread(source, min(_COPY, stop - at), at)):
            self.send(data)
            at += len(data)
        return at - start

    @property
    def sent(self) -> int:
        """Bytes sent so far."""
        return self._pace.sent

    def taking_rate(self) -> float | None:
        """Return the bytes a second that the client receives of the current response; called from other threads."""
        try:
            return self._pace.rate(self._socket)
        except (OSError, ValueError):
            return None

    def _stall(self, wanted: int) -> None:
        """Wait until the client can receive more; raise TooSlow if it receives too slowly."""
        about_to_wait()
        _ready(self._socket, wanted, _LOOK_S)
        self._pace.look(self._socket)

    def hang_up(self) -> None:
        """Shut the connection down from another thread; its own thread wakes at once."""
        with contextlib.suppress(OSError):
            # Not the TLS socket's own shutdown, which would break the TLS state that its thread is using.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, after the client has received the response; it may still be sending its request."""
        with contextlib.suppress(OSError, ValueError):
            self._socket.shutdown(socket.SHUT_WR)
            deadline, left = time.monotonic() + _LOOK_S, 16 * _READ
            while left > 0 and (data := self._receive(deadline)):
                left -= len(data)
        self._socket.close()

    def cut(self) -> None:
        """Close the connection at once, so that the client sees an incomplete response."""
        self._socket.close()

    def _wait(self, wanted: int, deadline: float) -> None:
        if _ready(self._socket, wanted, 0):
            return
        about_to_wait()
        if not _ready(self._socket, wanted, deadline - time.monotonic()):
            raise TimeoutError("the client timed out")


def _ready(connection: socket.socket, wanted: int, within_s: float) -> bool:
    waiting = select.poll()
    waiting.register(connection, wanted)
    return bool(waiting.poll(max(0.0, within_s) * 1000))
