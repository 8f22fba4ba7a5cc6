"""Server: listens, and serves each connection in a thread; docs/adr/0007 has the reasons."""

import contextlib
import errno
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, Self

from preheat.core.errors import PreheatError
from preheat.core.events import Listener, Serving
from preheat.mirror.http.connection import Connection, ConnectionTerms, serving
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.open_connections import GLANCE_S, Crowd
from preheat.mirror.http.receive_budget import Budget

# Linux's asm-generic/socket.h: the bytes per second that the kernel lets a socket send. Python has no name for it.
_SO_MAX_PACING_RATE = 47
_QUEUE = 4096  # the kernel makes it net.core.somaxconn, if that is less
_MOST_TURNED_AWAY = 16
# What accept(2) says when it is for now.
_FOR_NOW = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Companion(Protocol):
    """Something that works as long as a server does."""

    def start(self) -> None:
        """Begin, in a thread."""

    def stop(self) -> None:
        """End; also if it never began."""


class Server:
    """Serve at `address` (port 0: any that is free) between `start` and `stop`, or inside a `with`.

    `answer` and `on_event` are called by many threads at once. `pace` holds every connection to that many bytes per
    second, to imitate a hub that is far away. With `tls` it speaks that, and nothing else. What is `beside` it starts
    and stops with it. `greet` is asked before a body is read: see ConnectionTerms.
    Raise PreheatError if the address or the pace cannot be had.
    """

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[Request], Answer],
        on_event: Listener,
        pace: int | None = None,
        *,
        limits: ServerLimits = ServerLimits(),  # noqa: B008 - a value, and frozen
        tls: ssl.SSLContext | None = None,
        beside: Sequence[Companion] = (),
        greet: Callable[[Request], Answer | int] | None = None,
    ) -> None:
        self.crowd = Crowd(limits.connections)
        self.failed: OSError | None = None  # what ended it, if nobody stopped it
        bodies = Budget(limits.bodies_size)
        self._terms = ConnectionTerms(
            answer, on_event, limits, self.crowd, greet or (lambda _request: limits.body_size), bodies
        )
        self._tls = tls
        self._beside = beside
        self._turning_away = threading.Semaphore(_MOST_TURNED_AWAY)
        self._socket = _listen(address)
        self._address = self._socket.getsockname()[:2]
        if pace is not None:
            self._hold_to(pace)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as a client types it."""
        host, port = str(self._address[0]), self._address[1]
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def secure(self, tls: ssl.SSLContext) -> None:
        """Show new connections another certificate; raise nothing. A plain server stays plain."""
        if self._tls is not None:
            self._tls = tls

    def twin(self, tls: ssl.SSLContext) -> "Server":
        """Make another, to be started, that gives the same answers by TLS, on a port of its own."""
        terms = self._terms
        return Server(
            (str(self._address[0]), 0), terms.answer, terms.on_event, limits=terms.limits, tls=tls, greet=terms.greet
        )

    def start(self) -> None:
        """Begin to answer, in threads."""
        self._thread.start()
        for companion in self._beside:
            companion.start()
        self._terms.on_event(Serving(self.url))

    def wait(self) -> None:
        """Return when it has been stopped."""
        # In glances: a signal may reach another thread, or come just before the wait, and would not end it.
        while not self._ended.wait(GLANCE_S):
            pass

    def stop(self, patience_s: float = 5.0) -> None:
        """Accept no more, let the answers on their way finish within `patience_s`, then hang up."""
        self.crowd.stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self.wait()
        self._socket.close()
        self.crowd.hang_up(patience_s)
        for companion in self._beside:
            companion.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _accept(self) -> None:
        try:
            self._accept_all()
        finally:
            self._ended.set()

    def _accept_all(self) -> None:
        while not self.crowd.stopping:
            try:
                accepted, address = self._socket.accept()
            except OSError as error:
                if error.errno in _FOR_NOW:
                    time.sleep(0.1)  # others leave meanwhile
                    continue
                if error.errno == errno.ECONNABORTED:
                    continue
                if not self.crowd.stopping:
                    self.failed = error
                return
            self._welcome(accepted, str(address[0]))

    def _welcome(self, accepted: socket.socket, client: str) -> None:
        try:
            connection = Connection(accepted, client, self._terms)
        except OSError:
            accepted.close()  # it has left already
            return
        room = self.crowd.enter(connection.wire)
        try:
            if room:
                serving(connection, self._tls, lambda: self.crowd.leave(connection.wire)).start()
            elif self._tls is None and self._turning_away.acquire(blocking=False):
                threading.Thread(target=self._turn_away, args=(connection,), daemon=True).start()
            else:
                accepted.close()
        except RuntimeError:
            # No thread to be had: the machine is full, and it will not stay so.
            self.crowd.leave(connection.wire)
            accepted.close()

    def _turn_away(self, connection: Connection) -> None:
        try:
            connection.turn_away()
        finally:
            self._turning_away.release()

    def _hold_to(self, pace: int) -> None:
        """Let the kernel send no faster than `pace` bytes per second on each connection, which inherits it."""
        try:
            if pace < 1 or not sys.platform.startswith("linux"):
                raise OverflowError("not on this machine")
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, pace.to_bytes(8, sys.byteorder))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise PreheatError(
                f"connections cannot be held to {pace} bytes per second: {error}",
                hint="a pace is a number above 0, and needs Linux; leave it out",
            ) from error


def _listen(address: tuple[str, int]) -> socket.socket:
    host, port = address
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_QUEUE)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            what, hint = f"port {port} of {host} is taken", "another port, or 0 for any that is free"
        elif error.errno == errno.EACCES:
            what, hint = f"port {port} of {host} is for root alone", "a port from 1024 on"
        else:
            what, hint = f"{host}:{port} cannot be listened on: {error}", "an address of this machine, or 0.0.0.0"
        raise PreheatError(what, hint=hint) from error
    except OverflowError as error:
        listening.close()
        raise PreheatError(f"{port} is not a port", hint="a number from 0 to 65535") from error
    return listening
