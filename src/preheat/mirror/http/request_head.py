"""Request head: parse request line and header strictly; whatever is ambiguous is rejected.

The grammar is h11's (RFC 9110, RFC 9112); before it and after it stands what it would let pass.
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
# A name, an IPv4 address or an IPv6 address in brackets, perhaps a port; never a user, a path or a blank.
_HOST = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?\])(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body, of `length` bytes; field names are in lower case."""

    method: str
    target: str
    fields: Mapping[str, str]
    length: int
    keep: bool
    old: bool
    waits: bool


def end_of_head(received: bytes | bytearray) -> int:
    """Say where the head ends, 0 if its end has not come. A bare LF ends it too, to be refused at once."""
    found = re.search(rb"\n\r?\n", received)
    return found.end() if found else 0


def read_head(raw: bytes, limits: ServerLimits) -> Head:
    """Read a whole head, its blank line included; raise Refused for what cannot be meant, or can be meant twice."""
    line, _, rest = raw.partition(b"\r\n")
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\0", raw):
        raise Refused(refuse(400, "a line of the request does not end in CRLF, or holds a control character"))
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise Refused(refuse(400, "the first line is no request"))
    if parts["version"] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused(refuse(505, "this mirror speaks HTTP/1.1"))
    if len(parts["target"]) > limits.target_size:
        raise Refused(refuse(414, f"this mirror reads addresses of at most {limits.target_size} bytes"))
    if rest.count(b"\r\n") - 1 > limits.fields:
        raise Refused(refuse(431, f"this mirror reads at most {limits.fields} fields"))
    if re.match(rb"[ \t]", rest) or b"\r\n " in rest or b"\r\n\t" in rest:
        raise Refused(refuse(400, "a field goes on in a second line, which is no longer allowed"))
    lengths = _LENGTH.findall(rest)
    if len(lengths) > 1 or b"," in b"".join(lengths):
        raise Refused(refuse(400, "the length of the body is said twice"))
    request = _parsed(raw)
    method, target = request.method.decode("ascii"), request.target.decode("ascii", "replace")
    if method not in _METHODS:
        raise Refused(refuse(501, "this mirror does not know that method"))
    if not target.startswith("/"):
        raise Refused(refuse(400, "the address does not begin with a slash"))
    return _meant(method, target, request)


def _parsed(raw: bytes) -> h11.Request:
    reading = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw) + 1)
    reading.receive_data(raw)
    try:
        event = reading.next_event()
    except h11.RemoteProtocolError as error:
        status = 501 if error.error_status_hint == 501 else 400
        raise Refused(refuse(status, f"the request cannot be read: {error}")) from error
    if not isinstance(event, h11.Request):
        raise Refused(refuse(400, "the request cannot be read"))
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
            raise Refused(refuse(400, "the host cannot be read"))
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    if coded and (length or method in ("GET", "HEAD")):
        raise Refused(refuse(400, "the length of the body is said in two ways, or where there is none"))
    if coded:
        raise Refused(refuse(411, "this mirror wants to know a body's length"))
    wishes = {wish.strip().lower() for wish in fields.get("connection", "").split(",")}
    old = request.http_version == b"1.0"
    keep = "keep-alive" in wishes if old else "close" not in wishes
    waits = fields.get("expect", "").lower() == "100-continue"
    return Head(method, target, fields, int(length or 0), keep, old, waits)
