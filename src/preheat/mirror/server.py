"""Server: answers over HTTP/1.1, a thread a connection; files go from disk to socket without passing through Python."""

import contextlib
import errno
import http.server
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Self

from preheat.errors import PreheatError
from preheat.events import Answered, Listener, Serving
from preheat.mirror.forms import Answer, Request, Slice, refuse

# Linux's asm-generic/socket.h: the bytes per second that the kernel lets a socket send. Python has no name for it.
_SO_MAX_PACING_RATE = 47
_MOST_BODY = 4 * 1024 * 1024


class Server:
    """Serve at `address` (port 0: any that is free) between `start` and `stop`, or inside a `with`.

    `answer` and `on_event` are called by many threads at once. `pace` holds every connection to that many bytes per
    second, to imitate a hub that is far away. Raise PreheatError if the address or the pace cannot be had.
    """

    def __init__(
        self,
        address: tuple[str, int],
        answer: Callable[[Request], Answer],
        on_event: Listener,
        pace: int | None = None,
    ) -> None:
        self._on_event = on_event
        self._http = _listen(address, answer, on_event)
        if pace is not None:
            self._http.hold_to(pace)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as a client types it."""
        host, port = self._http.server_address[:2]
        name = str(host)
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def start(self) -> None:
        """Begin to answer, in threads."""
        self._thread.start()
        self._on_event(Serving(self.url))

    def wait(self) -> None:
        """Return when it has been stopped."""
        self._thread.join()

    def stop(self, patience_s: float = 5.0) -> None:
        """Accept no more, let the answers on their way finish within `patience_s`, then hang up."""
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.hang_up(patience_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class _Http(http.server.ThreadingHTTPServer):
    """The listening socket and the connections it has accepted."""

    daemon_threads = True
    request_queue_size = 4096  # the kernel makes it net.core.somaxconn, if that is less
    allow_reuse_port = False  # a taken port is an error, not a port to share

    def __init__(self, address: tuple[str, int], answer: Callable[[Request], Answer], on_event: Listener) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer = answer
        self.on_event = on_event
        self.stopping = False
        self._changed = threading.Condition()
        self._busy: dict[socket.socket, bool] = {}
        super().__init__(address, _Connection)

    def server_bind(self) -> None:
        # HTTPServer would ask the name service who we are, which can take long, for a name that nobody reads.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that went away is no news; anything else is a bug, and keeps its traceback.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # as wide as socketserver's callers

    def hold_to(self, pace: int) -> None:
        """Let the kernel send no faster than `pace` bytes per second on each connection, which inherits it."""
        try:
            if pace < 1 or not sys.platform.startswith("linux"):
                raise OverflowError("not on this machine")
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, pace.to_bytes(8, sys.byteorder))
        except (OSError, OverflowError) as error:
            self.server_close()
            raise PreheatError(
                f"connections cannot be held to {pace} bytes per second: {error}",
                hint="a pace is a number above 0, and needs Linux; leave it out",
            ) from error

    def enter(self, connection: socket.socket) -> None:
        """Count a connection in, as idle."""
        with self._changed:
            self._busy[connection] = False
            if self.stopping:
                _hang_up(connection)

    def leave(self, connection: socket.socket) -> None:
        """Count a connection out."""
        with self._changed:
            self._busy.pop(connection, None)
            self._changed.notify_all()

    @contextlib.contextmanager
    def answering(self, connection: socket.socket) -> Iterator[None]:
        """Count a connection as busy meanwhile."""
        with self._changed:
            self._busy[connection] = True
        try:
            yield
        finally:
            with self._changed:
                self._busy[connection] = False
                self._changed.notify_all()

    def hang_up(self, patience_s: float) -> None:
        """End all connections: the idle at once, the busy when they are done or patience is over."""
        with self._changed:
            self.stopping = True
            for connection, busy in self._busy.items():
                if not busy:
                    _hang_up(connection)
            self._changed.wait_for(lambda: not any(self._busy.values()), patience_s)
            for connection in self._busy:
                _hang_up(connection)
            self._changed.wait_for(lambda: not self._busy, 1.0)


class _Connection(http.server.BaseHTTPRequestHandler):
    """One client: its requests, one after the other."""

    server: _Http
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte either way
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._since = time.monotonic()
        self.server.enter(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.leave(self.connection)

    def parse_request(self) -> bool:
        self._since = time.monotonic()
        return super().parse_request()

    def do_GET(self) -> None:
        with self.server.answering(self.connection):
            request = self._request()
            if isinstance(request, Answer):
                self.close_connection = True
                self._send(request)
                return
            try:
                answer = self.server.answer(request)
            except Exception:
                self.close_connection = True
                self._send(refuse(500, "this mirror has a fault"))
                raise
            self._send(answer)

    # The names are the standard library's.
    do_HEAD = do_POST = do_GET  # noqa: N815
    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815

    def _request(self) -> Request | Answer:
        """Read the rest of the request, or say why not."""
        lengths = set(self.headers.get_all("Content-Length", ["0"]))
        length = lengths.pop().strip()
        if "Transfer-Encoding" in self.headers:
            return refuse(411, "this mirror wants to know a body's length")
        if lengths or not length.isascii() or not length.isdigit():
            return refuse(400, "the length of the body cannot be read")
        if len(length) > 18 or int(length) > _MOST_BODY:
            return refuse(413, f"this mirror reads no more than {_MOST_BODY} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("the client left in the middle of its request")
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, self.path, headers, body)

    def _send(self, answer: Answer) -> None:
        if self.command == "HEAD":
            answer = replace(answer, body=b"")
        with contextlib.ExitStack() as closing:
            file = None
            if isinstance(answer.body, Slice):
                try:
                    file = closing.enter_context(open(answer.body.path, "rb", buffering=0))
                except OSError:
                    answer = refuse(404, "the file has just left this mirror")
            sent = 0
            try:
                self._send_headers(answer)
                if isinstance(answer.body, bytes):
                    self.wfile.write(answer.body)
                    sent = len(answer.body)
                elif file is not None and answer.body.start < answer.body.stop:
                    file.seek(answer.body.start)
                    self.connection.sendfile(file, answer.body.start, answer.body.stop - answer.body.start)
            finally:
                # The file's position is what went out, even if the client left before the end.
                if file is not None and isinstance(answer.body, Slice):
                    sent = max(0, file.tell() - answer.body.start)
                    # A file cut short under our feet leaves the client waiting for the rest, unless we hang up.
                    self.close_connection |= sent < answer.body.stop - answer.body.start
                seconds = time.monotonic() - self._since
                path = getattr(self, "path", "")
                self.server.on_event(
                    Answered(self.client_address[0], self.command or "", path, answer.status, sent, seconds)
                )

    def _send_headers(self, answer: Answer) -> None:
        self.close_connection |= self.server.stopping
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        elif self.request_version == "HTTP/1.0":
            self.send_header("Connection", "keep-alive")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the standard library refuses to read, in the form of the other refusals."""
        self.close_connection = True
        self.request_version = self.protocol_version  # what cannot be read counts as HTTP/0.9, which has no status
        self._send(refuse(int(code), message or explain or "the request cannot be read"))

    def version_string(self) -> str:
        """Name the server in its answers, without the versions that tell an attacker what to try."""
        return "preheat"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the standard library's
        """Say nothing: it is told as an event."""


def _listen(address: tuple[str, int], answer: Callable[[Request], Answer], on_event: Listener) -> _Http:
    host, port = address
    try:
        return _Http(address, answer, on_event)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what, hint = f"port {port} of {host} is taken", "another port, or 0 for any that is free"
        elif error.errno == errno.EACCES:
            what, hint = f"port {port} of {host} is for root alone", "a port from 1024 on"
        else:
            what, hint = f"{host}:{port} cannot be listened on: {error}", "an address of this machine, or 0.0.0.0"
        raise PreheatError(what, hint=hint) from error
    except OverflowError as error:
        raise PreheatError(f"{port} is not a port", hint="a number from 0 to 65535") from error


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
