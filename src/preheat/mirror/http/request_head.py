"""Request head: parse the request line and headers strictly, and reject ambiguous ones.

The grammar is h11's (RFC 9110, RFC 9112); the checks around it reject input that h11 accepts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import h11

from preheat.mirror.http.limits import ServerLimits
from preheat.mirror.http.messages import Refused, refuse

_LENGTH = re.compile(rb"^content-length[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_LINE = re.compile(rb"[^ \t\r\n]+ (?P<target>[^ \t\r\n]*) (?P<version>HTTP/[0-9]\.[0-9])")
# A request line that is valid whatever the headers are: its target is `vchar+` in h11's grammar.
_PLAIN = re.compile(rb"([A-Z]+) (/[!-~]*) (HTTP/1\.[01])")
_MOST_KEPT = 4096  # bytes of headers, as each connection keeps them
# A name, an IPv4 address or a bracketed IPv6 address, with an optional port; no user, path or space.
_HOST = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?\])(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Head:
    """A request's line and headers; `length` is its body's size in bytes. Header names are in lower case."""

    method: str
    target: str
    fields: Mapping[str, str]
    length: int
    keep: bool
    old: bool
    waits: bool

    def to(self, target: str) -> "Head":
        """Return the same head with another target."""
        return Head(self.method, target, self.fields, self.length, self.keep, self.old, self.waits)


def end_of_head(received: bytes | bytearray) -> int:
    """Return the offset where the head ends, 0 if it is incomplete.

    A bare LF ends it too, so that `read_head` rejects it at once.
    """
    found = re.search(rb"\n\r?\n", received)
    return found.end() if found else 0


def read_head(raw: bytes, limits: ServerLimits) -> Head:
    """Parse a complete head, including its blank line; raise Refused if it is invalid or ambiguous."""
    line, _, rest = raw.partition(b"\r\n")
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\0", raw):
        raise Refused(refuse(400, "a line of the request does not end in CRLF, or contains a control character"))
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise Refused(refuse(400, "the request line is invalid"))
    if parts["version"] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused(refuse(505, "this mirror supports HTTP/1.0 and HTTP/1.1"))
    if len(parts["target"]) > limits.target_size:
        raise Refused(refuse(414, f"the URL must not exceed {limits.target_size} bytes"))
    if rest.count(b"\r\n") - 1 > limits.fields:
        raise Refused(refuse(431, f"the request must not have more than {limits.fields} headers"))
    if re.match(rb"[ \t]", rest) or b"\r\n " in rest or b"\r\n\t" in rest:
        raise Refused(refuse(400, "a header continues on a second line, which HTTP no longer allows"))
    lengths = _LENGTH.findall(rest)
    if len(lengths) > 1 or b"," in b"".join(lengths):
        raise Refused(refuse(400, "the request has several Content-Length values"))
    request = _parsed(raw)
    method, target = request.method.decode("ascii"), request.target.decode("ascii", "replace")
    if method not in _METHODS:
        raise Refused(refuse(501, "the method is not supported"))
    if not target.startswith("/"):
        raise Refused(refuse(400, "the URL must start with a slash"))
    return _meant(method, target, request)


class HeadReader:
    """Read the heads of one connection's requests; headers that are those of the request before are parsed once."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._last: tuple[bytes, bytes, bytes, Head] | None = None

    def read(self, raw: bytes) -> Head:
        """Return what `read_head` returns; raise Refused as it does."""
        line, _, rest = raw.partition(b"\r\n")
        plain = _PLAIN.fullmatch(line)
        if plain is None or len(plain[2]) > self._limits.target_size or len(rest) > _MOST_KEPT:
            return read_head(raw, self._limits)
        method, target, version = plain.groups()
        last = self._last
        if last is not None and last[0] == rest and last[1] == method and last[2] == version:
            # The grammar of the headers does not depend on the target.
            return last[3].to(target.decode("ascii"))
        head = read_head(raw, self._limits)
        self._last = rest, method, version, head
        return head


def _parsed(raw: bytes) -> h11.Request:
    reading = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw) + 1)
    reading.receive_data(raw)
    try:
        event = reading.next_event()
    except h11.RemoteProtocolError as error:
        status = 501 if error.error_status_hint == 501 else 400
        raise Refused(refuse(status, f"invalid request: {error}")) from error
    if not isinstance(event, h11.Request):
        raise Refused(refuse(400, "invalid request"))
    return event


def _meant(method: str, target: str, request: h11.Request) -> Head:
    fields: dict[str, str] = {}
    length = ""
    coded = False
    for name, value in ((name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers):
        if name == "content-length":
            length = value
        elif name == "transfer-encoding":
            coded = True
        elif name == "host" and not _HOST.fullmatch(value):
            raise Refused(refuse(400, "the Host header is invalid"))
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if coded and (length or method in ("GET", "HEAD")):
        raise Refused(refuse(400, "Transfer-Encoding is not allowed with Content-Length, or with GET or HEAD"))
    if coded:
        raise Refused(refuse(411, "Content-Length is required"))
    wishes = {wish.strip().lower() for wish in fields.get("connection", "").split(",")}
    old = request.http_version == b"1.0"
    keep = "keep-alive" in wishes if old else "close" not in wishes
    waits = fields.get("expect", "").lower() == "100-continue"
    return Head(method, target, fields, int(length or 0), keep, old, waits)
