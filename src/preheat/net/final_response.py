"""Final response: read the head of an HTTP response more strictly than the standard library.

The library takes any interim response but 100 for the final one (RFC 9110 section 15.2), a head that is cut off for a
whole one, a response whose Content-Length is invalid for one that ends when the connection does, and an invalid size of
a chunk for the end of the connection.
"""

import http.client
import re
from io import BufferedReader

_LENGTH = re.compile(r"[0-9]{1,19}")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}[ \t]*(?:;[^\n]*)?\r?\n")
_LONGEST = 65_536


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

    def are_cut(self) -> bool:
        """Return whether the connection ended before a line did."""
        return self._cut

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class FinalResponse(http.client.HTTPResponse):
    """An HTTP response. Raise IncompleteRead or HTTPException in `begin` for a head that is cut off or invalid."""

    def begin(self) -> None:
        """Read the head."""
        if getattr(self, "headers", None) is not None:
            return
        lines = _Lines(self.fp)
        self.fp = lines  # type: ignore[assignment]  # only `readline` is used
        try:
            super().begin()
        except http.client.RemoteDisconnected:
            raise
        except http.client.HTTPException as error:
            raise http.client.IncompleteRead(b"") if lines.are_cut() else error from error
        finally:
            if self.fp is not None:
                self.fp = lines.file
        if lines.are_cut():
            raise http.client.IncompleteRead(b"")
        lengths = {one.strip() for line in self.headers.get_all("Content-Length", []) for one in line.split(",")} - {""}
        if len(lengths) > 1 or not all(_LENGTH.fullmatch(one) for one in lengths):
            raise http.client.HTTPException("the Content-Length is invalid")

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
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)  # its headers are limited like those of a final response
