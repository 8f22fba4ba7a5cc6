"""Final response: read the head of an HTTP response more strictly than the standard library.

The library takes any interim response but 100 for the final one (RFC 9110 section 15.2), a head that is cut off for a
whole one, a response whose Content-Length is invalid for one that ends when the connection does, and an invalid size of
a chunk for the end of the connection. It parses headers as e-mail, which takes longer than all else that the response
to a small file costs: here, usual headers are parsed in one step.
"""

import http.client
import re
from email.parser import Parser
from io import BufferedReader

_LENGTH = re.compile(r"[0-9]{1,19}")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\n]*)?\r?\n")
_LONGEST = 65_536
_END = b"\n\r\n"
_MOST_LINES = 100  # as in http.client
# RFC 9112 section 5, without what http.client's e-mail parser treats in its own way, such as continued lines.
_FIELD = re.compile(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r?\n", re.MULTILINE)


class _Lines:
    """The lines of a head."""

    def __init__(self, file: BufferedReader) -> None:
        self.file = file
        self._cut = False

    def readline(self, limit: int = -1) -> bytes:
        """Read a line of at most `limit` bytes."""
        line = self.file.readline(limit)
        self._cut |= not line.endswith(b"\n") and len(line) != limit
        return line

    def peek(self, size: int) -> bytes:
        """Return bytes that have arrived, without consuming them."""
        return self.file.peek(size)

    def read(self, size: int) -> bytes:
        """Read `size` bytes."""
        return self.file.read(size)

    def are_cut(self) -> bool:
        """Return whether the connection ended before a line did."""
        return self._cut

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class _Fields(http.client.HTTPMessage):
    """The headers of a head, which is ISO-8859-1: an e-mail's are searched for other bytes each time they are read."""

    def items(self) -> list[tuple[str, str]]:
        """Return names and values, in their order."""
        return list(self.raw_items())


class FinalResponse(http.client.HTTPResponse):
    """An HTTP response. Raise IncompleteRead or HTTPException in `begin` for a head that is cut off or invalid."""

    def begin(self) -> None:
        """Read the head."""
        if getattr(self, "headers", None) is not None:
            return
        lines = _Lines(self.fp)
        self.fp = lines  # type: ignore[assignment]  # only these methods are used
        try:
            self._begin()
        except http.client.RemoteDisconnected:
            raise
        except http.client.HTTPException as error:
            if not lines.are_cut():
                raise
            raise http.client.IncompleteRead(b"") from error
        finally:
            if self.fp is not None:
                self.fp = lines.file
        if lines.are_cut():
            raise http.client.IncompleteRead(b"")
        lengths = {one.strip() for line in self.headers.get_all("Content-Length", []) for one in line.split(",")} - {""}
        if len(lengths) > 1 or not all(_LENGTH.fullmatch(one) for one in lengths):
            raise http.client.HTTPException("the Content-Length is invalid")

    def _begin(self) -> None:
        """Read the head as the standard library's `begin` does."""
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
        if status in (101, 204, 304) or self._method == "HEAD":  # type: ignore[attr-defined]  # not in typeshed
            self.length = 0
        closes = self._check_close()  # type: ignore[attr-defined]  # as above
        self.will_close = closes or (not self.chunked and self.length is None)

    def _read_next_chunk_size(self) -> int:
        line = self.fp.readline(_LONGEST)
        if not _SIZE.fullmatch(line):
            self._close_conn()  # type: ignore[attr-defined]  # not in typeshed
            if not line.endswith(b"\n") and len(line) < _LONGEST:
                raise http.client.IncompleteRead(b"")
            raise http.client.HTTPException("the size of a chunk is invalid")
        return int(re.split(rb"[ \t;\r\n]", line, maxsplit=1)[0], 16)

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if status == 101 or not 100 <= status < 200:
                return version, status, reason
            read_headers(self.fp)  # its headers are limited like those of a final response


def read_headers(file: "BufferedReader | _Lines") -> http.client.HTTPMessage:
    """Read headers up to the empty line; return the same as http.client.parse_headers. Raise HTTPException."""
    block = _block(file).decode("iso-8859-1")
    fields = _FIELD.findall(block)
    if len(fields) != block.count("\n") - 1 or not block.endswith(("\n\r\n", "\n\n")):
        return Parser(_class=http.client.HTTPMessage).parsestr(block)
    message = _Fields()
    for name, value in fields:
        message.set_raw(name, value)
    return message


def _block(file: "BufferedReader | _Lines") -> bytes:
    """Read up to the empty line, which usually has arrived together with the status line."""
    ahead = file.peek(1)
    size = ahead.find(_END) + len(_END)
    head = ahead[:size] if size >= len(_END) and not ahead.startswith((b"\r", b"\n")) else b""
    if head and b"\n\n" not in head and head.count(b"\n") <= _MOST_LINES:
        return file.read(size)
    lines: list[bytes] = []
    while not lines or lines[-1] not in (b"\r\n", b"\n", b""):
        lines.append(file.readline(_LONGEST + 1))
        if len(lines[-1]) > _LONGEST:
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
