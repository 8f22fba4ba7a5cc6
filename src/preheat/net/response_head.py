"""Response head: the status line and headers of a response, without interim responses, parsed in one step.

The standard library parses headers as e-mail, which takes longer than all else that the response to a small file costs.
"""

import http.client
import re
from email.parser import Parser
from io import BufferedReader

_END = b"\n\r\n"
_LONGEST_LINE, _MOST_LINES = 65_536, 100  # as in http.client
# RFC 9112 section 5, without what http.client's e-mail parser treats in its own way, such as continued lines.
_FIELD = re.compile(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r?\n", re.MULTILINE)


class FinalResponse(http.client.HTTPResponse):
    """An HTTP response that skips all 1xx responses before it (RFC 9110 section 15.2).

    The standard library's takes any interim response but 100 for the final one.
    """

    def begin(self) -> None:
        """See http.client.HTTPResponse, whose attributes this method sets: it reads the status line and the headers."""
        if getattr(self, "headers", None) is not None:
            return
        version, status, reason = self._read_status()
        self.code = self.status = status
        self.reason = reason.strip()
        if not version.startswith(("HTTP/1.", "HTTP/0.9")):
            raise http.client.UnknownProtocol(version)
        self.version = 10 if version in ("HTTP/1.0", "HTTP/0.9") else 11
        self.headers = self.msg = read_headers(self.fp)
        named = {name.lower(): value for name, value in reversed(self.headers.items())}  # the first of each name
        self.chunked = named.get("transfer-encoding", "").lower() == "chunked"
        self.chunk_left = None
        self.length = None if self.chunked else _number(named.get("content-length", ""))
        if status in (101, 204, 304) or self._method == "HEAD":  # type: ignore[attr-defined]  # as above
            self.length = 0
        closes = self._check_close()  # type: ignore[attr-defined]  # as above
        self.will_close = closes or (not self.chunked and self.length is None)

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if status == 101 or not 100 <= status < 200:
                return version, status, reason
            read_headers(self.fp)  # limited like those of a final response


def read_headers(file: BufferedReader) -> http.client.HTTPMessage:
    """Read headers up to the empty line; return the same as http.client.parse_headers. Raise HTTPException."""
    block = _block(file).decode("iso-8859-1")
    fields = _FIELD.findall(block)
    if len(fields) != block.count("\n") - 1 or not block.endswith(("\n\r\n", "\n\n")):
        return Parser(_class=http.client.HTTPMessage).parsestr(block)
    message = http.client.HTTPMessage()
    for name, value in fields:
        message.set_raw(name, value)
    return message


def _block(file: BufferedReader) -> bytes:
    """Read up to the empty line, which usually has arrived together with the status line."""
    ahead = file.peek(1)
    size = ahead.find(_END) + len(_END)
    head = ahead[:size] if size >= len(_END) and not ahead.startswith((b"\r", b"\n")) else b""
    if head and b"\n\n" not in head and head.count(b"\n") <= _MOST_LINES:
        return file.read(size)
    lines: list[bytes] = []
    while not lines or lines[-1] not in (b"\r\n", b"\n", b""):
        lines.append(file.readline(_LONGEST_LINE + 1))
        if len(lines[-1]) > _LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        if len(lines) > _MOST_LINES:
            raise http.client.HTTPException(f"got more than {_MOST_LINES} headers")
    return b"".join(lines)


def _number(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if number >= 0 else None
