"""File range: read part of a file over HTTP, with or without the server's support for range requests."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from preheat.core.errors import HubError, HubUnavailable, IntegrityError, NoRanges, PreheatError
from preheat.core.secret_text import one_line
from preheat.core.snapshot import File
from preheat.hubs.hub import Reader
from preheat.net.redirects import same_origin
from preheat.net.response import Stream

_OTHER = "the hub's file does not match its listing; try another --endpoint"
_BUFFER = 256 << 10


@dataclass(frozen=True, slots=True)
class FileLocation:
    """A file's address, the request headers for it, and its name in messages (`what`)."""

    url: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)


class StreamSource(Protocol):
    """What responses come from: a Transport, or a registry, which adds its authorization."""

    def stream(self, url: str, headers: Mapping[str, str], /) -> Stream:
        """GET `url` and return the response as a stream, whatever its status; redirects are followed."""


class Ranges:
    """Open parts of files through one transport; `read_error` converts an error status to an error. Thread-safe."""

    def __init__(self, transport: StreamSource, read_error: Callable[[Stream, str], PreheatError]) -> None:
        self._transport = transport
        self._read_error = read_error
        self._whole_only: set[File] = set()
        self._landings: dict[str, str] = {}

    def open(self, place: FileLocation, file: File, start: int, stop: int) -> Reader:
        """Return a reader for exactly the bytes `start` to `stop` (exclusive) of `file` at `place`.

        Raise IntegrityError for a response with other bytes. Raise NoRanges if the server ignores the range request or
        its headers describe another range; later calls for that file request the whole file. This is tracked per file,
        since ModelScope supports ranges for large files only.
        """
        if start >= stop:
            return _Empty()
        whole = start == 0 and stop == file.size
        plain = whole or file in self._whole_only
        stream = self._ask(place, {} if plain else {"Range": f"bytes={start}-{stop - 1}"})
        try:
            if stream.status not in (200, 206, 416):
                raise self._read_error(stream, place.what)
            if stream.status == 200 and not plain:
                _check_plain(stream.headers, file)
            if not plain and not _is_part(stream, file, start, stop):
                self._whole_only.add(file)
                raise NoRanges(
                    f"the hub serves {file.path} only as a whole", hint="nothing to do: it only takes longer"
                )
            return self._part(stream, file, start, stop)
        except BaseException:
            stream.close()
            raise

    def _ask(self, place: FileLocation, headers: Mapping[str, str]) -> Stream:
        """Request a file from the redirect target of an earlier request, or from the hub if that no longer responds.

        Hubs redirect each request to an address that is signed for about an hour. Reusing it saves a round trip and
        counts less against rate limits. No credentials are sent to it.
        """
        landing = self._landings.get(place.url)
        if landing is not None:
            try:
                stream = self._transport.stream(landing, headers)
            except HubError:
                self._landings.pop(place.url, None)
                raise
            if stream.status in (200, 206):
                return stream
            stream.close()
            self._landings.pop(place.url, None)
        stream = self._transport.stream(place.url, {**place.headers, **headers})
        moved = stream.landed != place.url and not same_origin(stream.landed, place.url)
        if moved and stream.status in (200, 206):
            self._landings[place.url] = stream.landed
        return stream

    def _part(self, stream: Stream, file: File, start: int, stop: int) -> Reader:
        match stream.status:
            case 206:
                _check_plain(stream.headers, file)
                _check_range(stream.headers, file, start, stop)
            case 200:
                _check_plain(stream.headers, file)
                _check_size(stream.headers, file)
                _skip(stream, start, file)
            case _:
                raise IntegrityError(f"{file.path} should have {file.size} bytes, but the hub has fewer", hint=_OTHER)
        exact = stream.headers.get("Content-Length") == str(stop - start)
        return stream if exact else _Bounded(stream, stop - start)


class _Empty:
    """A reader of an empty range, without a request."""

    prompt = True
    round_trip_s = 0.0

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002 - see Reader
        """See Reader."""
        return 0

    def close(self) -> None:
        """See Reader."""


class _Bounded:
    """A reader of the first `size` bytes of a longer response."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream = stream
        self._left = size

    @property
    def prompt(self) -> bool:
        """See Reader."""
        return self._stream.prompt

    @property
    def round_trip_s(self) -> float:
        """See Reader."""
        return self._stream.round_trip_s

    def readinto(self, buffer: memoryview) -> int:
        """See Reader."""
        if not self._left:
            return 0
        count = self._stream.readinto(buffer[: self._left])
        self._left -= count
        return count

    def close(self) -> None:
        """See Reader."""
        self._stream.close()


def _check_plain(headers: Mapping[str, str], file: File) -> None:
    """Raise HubError for a compressed response: its offsets and digest are not those of the file."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise HubError(
            f"the hub sends {file.path} compressed ({one_line(encoding, 20)!r}), although that was not requested",
            hint="a proxy may compress files; try another --endpoint",
        )


def _check_range(headers: Mapping[str, str], file: File, start: int, stop: int) -> None:
    found = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", headers.get("Content-Range", "").strip())
    if found is None or (int(found[1]), int(found[2]) + 1) != (start, stop) or found[3] not in ("*", str(file.size)):
        raise IntegrityError(
            f"requested bytes {start}-{stop - 1} of {file.size} of {file.path}, "
            f"but the hub sends {one_line(headers.get('Content-Range', 'some'), 60)!r}",
            hint=_OTHER,
        )


def _is_part(stream: Stream, file: File, start: int, stop: int) -> bool:
    """Whether the headers describe exactly the requested range, uncompressed, or a file that is too short for it."""
    if stream.status == 416:
        found = re.fullmatch(r"bytes \*/(\d{1,18})", stream.headers.get("Content-Range", "").strip())
        return found is not None and int(found[1]) < stop
    if stream.status != 206:
        return False
    length = stream.headers.get("Content-Length", "")
    try:
        _check_plain(stream.headers, file)
        _check_range(stream.headers, file, start, stop)
    except (HubError, IntegrityError):
        return False
    # With a Content-Length below the range's size, the reader would wait for the rest.
    return not length.isdecimal() or int(length) >= stop - start


def _check_size(headers: Mapping[str, str], file: File) -> None:
    length = headers.get("Content-Length")
    if length is not None and length != str(file.size):
        raise IntegrityError(
            f"{file.path} should have {file.size} bytes, but the hub sends {one_line(length, 60)}", hint=_OTHER
        )


def _skip(stream: Stream, size: int, file: File) -> None:
    """Read and discard `size` bytes: a hub without range requests sends the file from the start."""
    buffer = memoryview(bytearray(min(size, _BUFFER)))
    while size:
        count = stream.readinto(buffer[: min(size, len(buffer))])
        if count == 0:
            raise HubUnavailable(f"the hub ended its response for {file.path} early", hint="pull again to resume")
        size -= count
