"""Connection: read a client's requests, respond to them in order, and report each."""

import contextlib
import ipaddress
import re
import socket
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from io import FileIO
from typing import BinaryIO

from preheat.core.events import Answered, Listener
from preheat.mirror.http.client_socket import TooLong, Wire
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Flow, Refused, Request, Slice, refuse
from preheat.mirror.http.open_connections import Crowd
from preheat.mirror.http.receive_budget import Budget
from preheat.mirror.http.redact import redact
from preheat.mirror.http.request_head import Head, read_head

# The statuses of RFC 9110 section 15 that a mirror uses.
_REASONS = {
    100: "Continue", 200: "OK", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 302: "Found",
    304: "Not Modified", 307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 411: "Length Required",
    413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable",
    421: "Misdirected Request", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}  # fmt: skip

_CONTROL = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class ConnectionTerms:
    """The settings that all connections of a server share: handlers, limits and counters.

    `greet` is called before a body is read: it returns how many bytes to read at most, or a response that needs no
    body. When `crowd` has no room, connections enter the `reserve`, where only requests that are `spared` are answered.
    """

    answer: Callable[[Request], Answer]
    on_event: Listener
    limits: ServerLimits
    crowd: Crowd
    greet: Callable[[Request], Answer | int]
    bodies: Budget
    reserve: Crowd
    spared: Callable[[Request], bool]


class Connection:
    """Serve an accepted socket until either side closes it. `address` is the client's, without the port."""

    def __init__(self, accepted: socket.socket, address: str, terms: ConnectionTerms, *, secure: bool = False) -> None:
        self.wire = Wire(accepted, terms.limits)
        self.client = network_of(address)
        self._address = address
        self._terms = terms
        self._crowd = terms.crowd
        self._greeted = not secure
        self._keep = True
        self._head: Head | None = None
        self._since = time.monotonic()

    @property
    def socket(self) -> socket.socket:
        """See Visitor."""
        return self.wire.socket

    @property
    def begun(self) -> bool:
        """See Visitor."""
        return self.wire.begun

    def ready(self) -> bool:
        """See Visitor; a TLS handshake needs a thread."""
        return not self._greeted or self.wire.read_ahead()

    def hang_up(self) -> None:
        """See Visitor: close a connection that no thread serves."""
        self.wire.cut()

    def serve(self, tls: ssl.SSLContext | None, crowd: Crowd) -> bool:
        """Serve requests, as a member of `crowd`, until the client pauses, or the connection ends; raise only for bugs.

        Return whether it goes on: call this again when the client has sent something.
        """
        cut, self._crowd = False, crowd
        try:
            if not self._greeted and tls is not None and not self.wire.greet(tls):
                self._refuse(refuse(400, "this mirror requires https"))
                self._keep = False
            self._greeted = True
            while self._keep and not crowd.stopping:
                if self.wire.is_quiet(self._terms.limits.linger_s):
                    return True
                self._one()
        except (OSError, TooLong):
            # Ignored: the client disconnected, timed out, or was disconnected to make room.
            cut = self._head is not None
        except BaseException:
            self.wire.close()
            raise
        if cut:
            self.wire.cut()
        else:
            self.wire.close()
        return False

    def _one(self) -> None:
        self._head = None
        try:
            raw = self.wire.head()
        except TooLong as error:
            most = self._terms.limits.head_size
            self._refuse(
                refuse(414 if error.line else 431, f"the request line and headers must not exceed {most} bytes")
            )
            return
        if not raw:
            self._keep = False
            return
        self._since = time.monotonic()
        try:
            self._head = read_head(raw, self._terms.limits)
        except Refused as refused:
            self._refuse(refused.answer)
            return
        self._keep = self._head.keep
        # A connection that still waits for its body counts as idle, so that it can be closed to make room.
        request = self._request(self._head)
        with self._crowd.answering(self):
            if isinstance(request, Answer):
                self._refuse(request)
                return
            try:
                answer = self._terms.answer(request)
            except Exception:
                self._refuse(refuse(500, "internal error of this mirror"))
                raise
            self._send(answer)

    def _request(self, head: Head) -> Request | Answer:
        request = Request(head.method, head.target, head.fields, b"", self.wire.secure, self.client)
        if self._crowd is self._terms.reserve and not self._terms.spared(request):
            self._terms.crowd.turn_away()
            return refuse(503, "this mirror has too many connections", Retry_After="5")
        if not head.length:
            return request
        if head.length > self._terms.limits.body_size:
            return refuse(413, f"the body must not exceed {self._terms.limits.body_size} bytes")
        most = self._terms.greet(request)
        if isinstance(most, Answer):
            return most
        if head.length > most:
            self._keep = False
            return request if not most else refuse(413, f"the body must not exceed {most} bytes")
        with self._terms.bodies.taking(head.length) as room:
            if not room:
                return refuse(503, "this mirror is reading too many request bodies", Retry_After="2")
            if head.waits:
                self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return replace(request, body=self.wire.body(head.length))

    def _refuse(self, answer: Answer) -> None:
        self._keep = False
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        if self._head is not None and self._head.method == "HEAD":
            answer = replace(answer, body=b"")
        with contextlib.ExitStack() as closing:
            file: BinaryIO | None = None
            if isinstance(answer.body, Slice):
                try:
                    file = closing.enter_context(open(answer.body.path, "rb", buffering=0))
                except OSError:
                    answer = refuse(404, "the file has just been removed from this mirror")
            self._keep &= not self._crowd.stopping and answer.headers.get("Connection") != "close"
            words = _written(answer, keep=self._keep, old=self._head is not None and self._head.old)
            before = self.wire.sent + len(words)
            try:
                match answer.body:
                    case bytes():
                        self.wire.send(words + answer.body)
                    case Flow():
                        self.wire.send(words)
                        self._send_flow(answer.body)
                    case Slice(_, start, stop) if file is not None and start < stop:
                        self.wire.send(words, more=True)
                        self._send_file(file, start, stop)
                    case _:
                        self.wire.send(words)
            finally:
                self._tell(answer, max(0, self.wire.sent - before))

    def _send_flow(self, flow: Flow) -> None:
        with contextlib.closing(flow.pieces()) as pieces:
            for file, start, stop in pieces:
                self._send_file(file, start, stop)

    def _send_file(self, file: BinaryIO | FileIO, start: int, stop: int) -> None:
        if self.wire.send_file(file.fileno(), start, stop) < stop - start:
            # If the file was truncated, the client would wait for the rest: close the connection.
            raise ConnectionAbortedError("the file was truncated")

    def _tell(self, answer: Answer, sent: int) -> None:
        head, seconds = self._head, time.monotonic() - self._since
        method, target = (head.method, redact(head.target)) if head else ("", "")
        agent = head.fields.get("user-agent", "") if head else ""
        of_file = isinstance(answer.body, Slice | Flow)
        self._terms.on_event(Answered(self._address, method, target, answer.status, sent, seconds, agent, of_file))


def _written(answer: Answer, *, keep: bool, old: bool = False) -> bytes:
    """Encode status line and headers. Replaces CR, LF and NUL in values, so that no value can start another header."""
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}", "Server: preheat"]
    lines.append(f"Date: {formatdate(usegmt=True)}")
    headers = ((name, value) for name, value in answer.headers.items() if name != "Connection")
    lines += [f"{name}: {_CONTROL.sub('?', value)}" for name, value in headers]
    if not keep:
        lines.append("Connection: close")
    elif old:
        lines.append("Connection: keep-alive")
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace")


def serving(
    connection: Connection, tls: ssl.SSLContext | None, crowd: Crowd, leave: Callable[..., None]
) -> threading.Thread:
    """Return a thread that serves a connection as a member of `crowd`.

    It calls `leave(goes_on=…)` at the end with what `serve` returned. A bug prints a traceback and ends only that
    thread.
    """

    def serve() -> None:
        goes_on = False
        try:
            goes_on = connection.serve(tls, crowd)
        except Exception:  # noqa: BLE001 - the server continues; stderr has the traceback
            traceback.print_exc(file=sys.stderr)
        finally:
            leave(goes_on=goes_on)

    return threading.Thread(target=serve, daemon=True)


def network_of(address: str) -> str:
    """Return whose an address is, for limits: an IPv4 address, or the first 64 bits of an IPv6 one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
