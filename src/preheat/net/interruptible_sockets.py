"""Interruptible sockets: plain and TLS sockets whose reads another thread can end.

Python's own sockets wait inside C, where nothing but their timeout ends the wait. These wait in `wait_readable`; while
they read, the descriptor does not block, and TLS' own buffer is always emptied first.
"""

import socket
import ssl
import time
from typing import Any

from urllib3.util.ssl_ import create_urllib3_context

from preheat.net.interrupt import note_received, wait_readable


class Waits(socket.socket):
    """What both have in common: a timeout that is kept while the descriptor itself does not block.

    Until `head_until`, a time.monotonic(), all of an answer's headers have to be there, however they drip.
    """

    head_until: float | None = None

    # Set on the class: ssl makes its sockets without calling __init__.
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
        """Wait for something to read, as long as the timeout and `head_until` allow."""
        timeout_s = self._timeout_s
        if self.head_until is not None:
            left_s = self.head_until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        wait_readable(self, timeout_s)

    def _to_write(self) -> None:
        if self._reads:
            self.settimeout(self._timeout_s)


class PlainSocket(Waits):
    """A TCP socket."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """See socket.socket; raise Interrupted besides. Waits first, so that SO_RCVLOWAT has its effect."""
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
    """A TLS connection; `waited` says whether the last read had to wait for its first bytes."""

    waited = False

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """See ssl.SSLSocket; fill the buffer with all records that are here; raise Interrupted besides."""
        self._to_read()
        self.waited = False
        view = memoryview(buffer)[: nbytes or len(buffer)]
        filled = 0
        while filled < len(view):
            try:
                count = super().recv_into(view[filled:], None, flags)
            except (ssl.SSLWantReadError, BlockingIOError):
                if filled:
                    break
                self.waited = True
                self._wait()
            except ssl.SSLWantWriteError:
                # A key update, which is rare and small: it goes out at once, or the read is tried again.
                continue
            else:
                if not count:
                    break
                filled += count
        note_received()
        return filled


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return the context for all TLS connections of a transport, with its certificates loaded once.

    `ca_file` takes the place of the system's certificates. Raise OSError if it cannot be read.
    """
    context = create_urllib3_context()
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(ca_file)
    context.sslsocket_class = TlsSocket
    return context
