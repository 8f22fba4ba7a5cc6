"""Connection: read a client's requests, respond to them in order, and report each."""

import contextlib
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache, partial
from io import FileIO

from preheat.core.events import Answered, Listener
from preheat.core.values.replace import replace
from preheat.mirror.http.client_socket import TooLong, Wire
from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Answer, Flow, Refused, Request, Slice, refuse
from preheat.mirror.http.open_connections import Crowd
from preheat.mirror.http.receive_budget import Budget
from preheat.mirror.http.redact import redact
from preheat.mirror.http.request_head import Head, HeadReader

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
        self._cut = False
        self._heads = HeadReader(terms.limits)
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
        """Serve the requests that have arrived, as a member of `crowd`; raise only for bugs.

        Return whether it goes on: call this again when the client has sent something. Otherwise call `end`.
        """
        self._crowd = crowd
        try:
            if self._greeted:
                self._one()
            else:
                self._greet(tls)
            while self._keep and not crowd.stopping:
                if not self.wire.has_more():
                    return True
                self._one()
        except (OSError, TooLong):
            # Ignored: the client disconnected, timed out, or was disconnected to make room.
            self._cut = self._head is not None
        return False

    def end(self) -> None:
        """Close the connection."""
        if self._cut:
            self.wire.cut()
        else:
            self.wire.close()

    def _greet(self, tls: ssl.SSLContext | None) -> None:
        if tls is not None and not self.wire.greet(tls):
            self._refuse(refuse(400, "this mirror requires https"))
        self._greeted = True

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
            self._head = self._heads.read(raw)
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
        if self._head is not None and self._head.method == "HEAD" and answer.body:
            answer = Answer(answer.status, answer.headers)
        match answer.body:
            case bytes() as body:
                self._send_by(answer, lambda words: self.wire.send(words + body))
            case Flow() as flow:
                self._send_by(answer, partial(self._send_flow, flow))
            case Slice(path, start, stop):
                try:
                    file = FileIO(path)
                except OSError:
                    self._send(refuse(404, "the file has just been removed from this mirror"))
                    return
                with file:
                    self._send_by(answer, partial(self._send_slice, file, start, stop))

    def _send_by(self, answer: Answer, send: Callable[[bytes], None]) -> None:
        words = self._words(answer)
        before = self.wire.sent + len(words)
        try:
            send(words)
        finally:
            self._tell(answer, max(0, self.wire.sent - before))

    def _words(self, answer: Answer) -> bytes:
        self._keep &= not self._crowd.stopping and answer.headers.get("Connection") != "close"
        return _written(answer, keep=self._keep, old=self._head is not None and self._head.old)

    def _send_slice(self, file: FileIO, start: int, stop: int, words: bytes) -> None:
        self.wire.send(words, more=start < stop)
        if start < stop:
            self._send_file(file, start, stop)

    def _send_flow(self, flow: Flow, words: bytes) -> None:
        self.wire.send(words)
        with contextlib.closing(flow.pieces()) as pieces:
            for file, start, stop in pieces:
                self._send_file(file, start, stop)

    def _send_file(self, file: FileIO, start: int, stop: int) -> None:
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
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, '')}", "Server: preheat", _date(int(time.time()))]
    fields = [f"{name}: {value}" for name, value in answer.headers.items() if name != "Connection"]
    if _CONTROL.search("".join(fields)):
        fields = [_CONTROL.sub("?", field) for field in fields]
    lines += fields
    if not keep:
        lines.append("Connection: close")
    elif old:
        lines.append("Connection: keep-alive")
    return "\r\n".join((*lines, "", "")).encode("latin-1", "replace")


@lru_cache(maxsize=2)
def _date(now: int) -> str:
    return f"Date: {formatdate(now, usegmt=True)}"


def network_of(address: str) -> str:
    """Return whose an address is, for limits: an IPv4 address, or the first 64 bits of an IPv6 one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    return str(ip.ipv4_mapped or ipaddress.IPv6Network((int(ip) >> 64 << 64, 64)))
