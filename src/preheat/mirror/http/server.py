"""Server: accept connections, and serve their requests; docs/adr/0007 has the reasons."""

import contextlib
import errno
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, Self

from preheat.core.errors import PreheatError
from preheat.core.events import Listener, Serving
from preheat.mirror.http.connection import Connection, ConnectionTerms
from preheat.mirror.http.idle_connections import IdleConnections
from preheat.mirror.http.lead import Leadership
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.open_connections import GLANCE_S, Crowd
from preheat.mirror.http.receive_budget import Budget

# From Linux's asm-generic/socket.h: limits a socket's bytes per second. Python has no name for it.
_SO_MAX_PACING_RATE = 47
_QUEUE = 4096  # the kernel caps it at net.core.somaxconn
# Connections that are served besides when all are taken, to answer status requests, and to refuse others.
_RESERVE = 16
# Temporary errors of accept(2).
_FOR_NOW = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Companion(Protocol):
    """A background task that runs as long as a server."""

    def start(self) -> None:
        """Start, in a thread."""

    def stop(self) -> None:
        """Stop; also if it was never started."""


class Server:
    """Serve at `address` (port 0: any free port) between `start` and `stop`, or inside a `with`.

    `answer` and `on_event` are called from many threads. `pace` limits each connection to that many bytes per second,
    to imitate a distant hub. With `tls`, plain HTTP is refused. The tasks in `beside` start and stop with the server.
    `greet` is called before a body is read, and `spared` requests are answered when all connections are taken: see
    ConnectionTerms.

    Raise PreheatError if the address is unavailable or the pace is not supported.
    """

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[Request], Answer],
        on_event: Listener,
        pace: int | None = None,
        *,
        limits: ServerLimits = ServerLimits(),  # noqa: B008 - immutable
        tls: ssl.SSLContext | None = None,
        beside: Sequence[Companion] = (),
        greet: Callable[[Request], Answer | int] | None = None,
        spared: Callable[[Request], bool] = lambda _request: False,
    ) -> None:
        self.crowd = Crowd(limits.connections)
        self.failed: OSError | None = None  # the error that ended it, if it was not stopped
        self._reserve = Crowd(_RESERVE)
        bodies = Budget(limits.bodies_size)
        greet = greet or (lambda _request: limits.body_size)
        self._terms = ConnectionTerms(answer, on_event, limits, self.crowd, greet, bodies, self._reserve, spared)
        self._tls = tls
        self._beside = beside
        self._idle = IdleConnections(limits, self._begin)
        self.crowd.waiting = self._idle.__len__
        self._socket = _listen(address)
        self._address = self._socket.getsockname()[:2]
        if pace is not None:
            self._hold_to(pace)
        self._ended = threading.Event()
        self._started = False
        self._lead = Leadership(self._idle.look, self._is_over, self._ended.set)

    @property
    def url(self) -> str:
        """The URL where it listens."""
        host, port = str(self._address[0]), self._address[1]
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def secure(self, tls: ssl.SSLContext) -> None:
        """Use another certificate for new connections; ignored by a plain server."""
        if self._tls is not None:
            self._tls = tls

    def twin(self, tls: ssl.SSLContext) -> "Server":
        """Return a second server, not yet started, with the same responses over TLS, on another free port."""
        terms = self._terms
        return Server(
            (str(self._address[0]), 0),
            terms.answer,
            terms.on_event,
            limits=terms.limits,
            tls=tls,
            greet=terms.greet,
            spared=terms.spared,
        )

    def start(self) -> None:
        """Start serving, in threads."""
        self._socket.settimeout(0)
        self._idle.watch(self._socket, self._welcome)
        self._started = True
        self._lead.start()
        for companion in self._beside:
            companion.start()
        self._terms.on_event(Serving(self.url))

    def wait(self) -> None:
        """Return when the server has stopped."""
        # Poll: a signal that reaches another thread, or comes just before the wait, would not end it.
        while not self._ended.wait(GLANCE_S):
            pass

    def stop(self, patience_s: float = 5.0) -> None:
        """Stop accepting, let running responses finish within `patience_s` seconds, then close all connections."""
        self.crowd.stopping = self._reserve.stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._started:
            self.wait()
        self._lead.stop()
        self._socket.close()
        self._idle.close()
        self.crowd.hang_up(patience_s)
        self._reserve.hang_up(0.0)
        self._idle.close()  # connections that have paused since the first call
        for companion in self._beside:
            companion.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _is_over(self) -> bool:
        return self.crowd.stopping or self.failed is not None

    def _welcome(self) -> None:
        """Accept the connections that have arrived."""
        while not self.crowd.stopping:
            try:
                accepted, address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FOR_NOW:
                    if not self._idle.make_room():
                        time.sleep(0.1)  # until other connections close
                elif error.errno != errno.ECONNABORTED:
                    self.failed = None if self.crowd.stopping else error
                return
            try:
                connection = Connection(accepted, str(address[0]), self._terms, secure=self._tls is not None)
                self._idle.enter(connection)
            except (OSError, ValueError, KeyError):
                accepted.close()  # the client has disconnected already

    def _begin(self, connection: Connection) -> bool:
        """Serve a connection that has sent something; return whether this thread still has the lead."""
        crowd = next((one for one in (self.crowd, self._reserve) if one.enter(connection)), None)
        if crowd is None:
            self.crowd.turn_away()
            self._idle.unwatch(connection)
            connection.hang_up()
            return True
        return self._lead.serve(partial(self._serve, connection, crowd), partial(self._idle.unwatch, connection))

    def _serve(self, connection: Connection, crowd: Crowd) -> None:
        goes_on = False
        try:
            goes_on = connection.serve(self._tls, crowd)
        except Exception:  # noqa: BLE001 - the server continues; stderr has the traceback
            traceback.print_exc(file=sys.stderr)
        if not goes_on:
            self._lead.release()
            connection.end()
        crowd.leave(connection)
        is_watched = self._lead.finish()
        if goes_on:
            try:
                (self._idle.resume if is_watched else self._idle.enter)(connection)
            except (OSError, ValueError, KeyError):
                connection.hang_up()

    def _hold_to(self, pace: int) -> None:
        """Limit each connection to `pace` bytes per second in the kernel; accepted sockets inherit the limit."""
        try:
            if pace < 1 or not sys.platform.startswith("linux"):
                raise OverflowError("not supported on this system")
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, pace.to_bytes(8, sys.byteorder))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise PreheatError(
                f"cannot limit connections to {pace} bytes per second: {error}",
                hint="the pace must be above 0, and requires Linux; omit it",
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
            what, hint = f"port {port} of {host} is already in use", "use another port, or 0 for any free port"
        elif error.errno == errno.EACCES:
            what, hint = f"port {port} of {host} requires root", "use port 1024 or above"
        else:
            what, hint = f"cannot listen on {host}:{port}: {error}", "use an address of this machine, or 0.0.0.0"
        raise PreheatError(what, hint=hint) from error
    except OverflowError as error:
        listening.close()
        raise PreheatError(f"{port} is not a valid port", hint="use a number from 0 to 65535") from error
    return listening
