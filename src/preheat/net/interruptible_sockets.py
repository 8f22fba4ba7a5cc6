"""Interruptible sockets: plain and TLS sockets whose reads another thread can end.

Python's sockets wait in C code, where only their timeout ends the wait. These wait in `wait_readable`. While they read,
the descriptor is non-blocking, and TLS' buffer is always emptied first.
"""

import socket
import ssl
import time
from typing import Any

from urllib3.util.ssl_ import create_urllib3_context

from preheat.net.interrupt import note_received, wait_readable


class Waits(socket.socket):
    """Base of both sockets: implements the timeout while the descriptor is non-blocking.

    `until`: the time.monotonic() after which reads raise TimeoutError, however many bytes arrive.
    """

    until: float | None = None

    # Class attributes, because ssl creates its sockets without calling __init__.
    _timeout_s: float | None = None
    _reads = False

    def settimeout(self, value: float | None, /) -> None:
        """See socket.socket."""
        self._timeout_s, self._reads = value, False
        super().settimeout(value)

    def gettimeout(self) -> float | None:
        """See socket.socket."""
        return self._timeout_s if self._reads else super().gettimeout()

    def send(self, data: Any, flags: int = 0, /) -> int:
        """See socket.socket."""
        self._to_write()
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """See socket.socket."""
        self._to_write()
        super().sendall(data, flags)

    def _to_read(self) -> None:
        if not self._reads:
            self._timeout_s = super().gettimeout()
            super().settimeout(0.0)
            self._reads = True

    def _wait(self) -> None:
        """Wait until the socket is readable, for at most its timeout, and not beyond `until`."""
        timeout_s = self._timeout_s
        if self.until is not None:
            left_s = self._left_s(self.until)
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        wait_readable(self, timeout_s)

    @staticmethod
    def _left_s(until: float) -> float:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s

    def _to_write(self) -> None:
        if self._reads:
            self.settimeout(self._timeout_s)


class PlainSocket(Waits):
    """A TCP socket."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """See socket.socket; may also raise Interrupted. Polls before it reads, so that SO_RCVLOWAT takes effect."""
        self._to_read()
        while True:
            self._wait()
            try:
                count = super().recv_into(buffer, nbytes, flags)
            except BlockingIOError:
                continue
            note_received()
            return count


class TlsSocket(Waits, ssl.SSLSocket):
    """A TLS connection to `server`, a name and a port; `waited`: whether the last read waited for its first bytes."""

    waited = False
    server = ("", 0)

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:  # noqa: ARG002 - TLS has none
        """See ssl.SSLSocket; reads all records that have arrived, up to the buffer's size; may raise Interrupted."""
        self._to_read()
        if self.until is not None:
            self._left_s(self.until)  # a sender that never pauses is never waited for
        self.waited = False
        view = memoryview(buffer)[: nbytes or len(buffer)]
        filled, size = 0, len(view)
        read: Any = self.read  # typeshed does not know that it returns a count if it has a buffer
        while filled < size:
            try:
                # `read` returns one record of at most 16 KiB. `SSLSocket.recv_into` does the same at twice the cost.
                count = read(size - filled, view[filled:])
            except (ssl.SSLWantReadError, BlockingIOError):
                if filled:
                    break
                self.waited = True
                self._wait()
            except ssl.SSLWantWriteError:
                # A TLS key update, which is rare and small, has to be sent first: retry the read.
                continue
            else:
                if not count:
                    break
                filled += count
        note_received()
        return filled

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """See ssl.SSLSocket; used for TLS within this connection."""
        buffer = bytearray(buflen)
        return bytes(buffer[: self.recv_into(buffer, None, flags)])


def line_of(connected: object) -> Waits | None:
    """Return the socket that implements `until`; for TLS inside TLS to a proxy, it is the outer connection's."""
    line = connected if isinstance(connected, Waits) else getattr(connected, "socket", None)
    return line if isinstance(line, Waits) else None


class ResumingContext(ssl.SSLContext):
    """A TLS context for clients, whose connections resume the latest session of the same server (RFC 8446, 2.2).

    Then the server sends no certificate, and nobody signs or checks one. Thread-safe.
    """

    sslsocket_class = TlsSocket

    def __init__(self, _protocol: int) -> None:
        self._sessions: dict[tuple[str, int], ssl.SSLSession] = {}

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See ssl.SSLContext."""
        server = str(options.get("server_hostname")), sock.getpeername()[1]
        line = super().wrap_socket(sock, *args, **{"session": self._sessions.get(server), **options})
        if isinstance(line, TlsSocket):
            line.server = server
        return line

    def remember(self, line: TlsSocket) -> None:
        """Keep the session of a connection for the next one; call it when the server's first bytes have arrived."""
        session = line.session
        if session is not None and session.has_ticket:
            self._sessions[line.server] = session


def tls_context(ca_file: str | None) -> ResumingContext:
    """Return the TLS context for all connections of a transport, with urllib3's settings.

    `ca_file` replaces the system's certificates. Raise OSError if it cannot be read.
    """
    usual, context = create_urllib3_context(), ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= usual.options
    context.options &= ~ssl.OP_NO_TICKET
    context.minimum_version, context.verify_flags = usual.minimum_version, usual.verify_flags
    context.post_handshake_auth = usual.post_handshake_auth
    context.hostname_checks_common_name = usual.hostname_checks_common_name
    context.keylog_filename = usual.keylog_filename
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    return context
