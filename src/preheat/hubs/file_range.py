"""File range: part of a file over HTTP, from servers with range requests and from those without."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from preheat.core.errors import HubError, HubUnavailable, IntegrityError, NoRanges, PreheatError
from preheat.core.snapshot import File
from preheat.disk.splice import Pipe
from preheat.hubs.hub import Reader
from preheat.net.http import Transport
from preheat.net.response import Stream

_OTHER = "the file there is not the one listed; try another --endpoint"
_BUFFER = 256 << 10


@dataclass(frozen=True, slots=True)
class FileLocation:
    """Where a file lies, what to say when asking for it there, and how to name it to people."""

    url: str
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Ranges:
    """Open parts of files through one transport; `read_error` says what another status than success means.

    Threads may share it.
    """

    def __init__(self, transport: Transport, read_error: Callable[[Stream, str], PreheatError]) -> None:
        self._transport = transport
        self._read_error = read_error
        self._whole_only: set[File] = set()
        self._landings: dict[str, str] = {}

    def open(self, place: FileLocation, file: File, start: int, stop: int) -> Reader:
        """Read bytes `start` up to, not including, `stop` of `file`, which lies there, and never one more.

        Raise IntegrityError for an answer that is about other bytes. Raise NoRanges where a part was asked for and the
        server sends everything, or a part that its headers do not describe as the one asked for; later calls for that
        file ask for all of it. ModelScope has ranges for large files alone, so one file says nothing about others.
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
            if not plain and (
                stream.status == 200 or (stream.status == 206 and not _is_part(stream, file, start, stop))
            ):
                self._whole_only.add(file)
                raise NoRanges(f"{file.path} can only be had whole there", hint="nothing to do: it only takes longer")
            return self._part(stream, file, start, stop)
        except BaseException:
            stream.close()
            raise

    def _ask(self, place: FileLocation, asked: Mapping[str, str]) -> Stream:
        """Ask where the file was found to lie, while that holds; else where the hub sends whoever asks.

        A hub answers for each part with a redirect, signed for an hour or so: that costs a round trip, and counts
        against its limits. Where it leads, no credentials are sent.
        """
        landing = self._landings.get(place.url)
        if landing is not None:
            try:
                stream = self._transport.stream(landing, asked)
            except HubError:
                self._landings.pop(place.url, None)
                raise
            if stream.status in (200, 206):
                return stream
            stream.close()
            self._landings.pop(place.url, None)
        stream = self._transport.stream(place.url, {**place.headers, **asked})
        if stream.status in (200, 206) and _origin(stream.landed) != _origin(place.url):
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
                raise IntegrityError(f"{file.path} should have {file.size} bytes, the hub has fewer", hint=_OTHER)
        exact = stream.headers.get("Content-Length") == str(stop - start)
        return stream if exact else _Bounded(stream, stop - start)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


class _Empty:
    """No bytes, for which nobody needs to be asked."""

    prompt = True

    def readinto(self, buffer: memoryview, /) -> int:  # noqa: ARG002 - see Reader
        """See Reader."""
        return 0

    def pour(self, pipe: Pipe, most: int, /) -> int:  # noqa: ARG002 - see Reader
        """See Reader."""
        return 0

    def close(self) -> None:
        """See Reader."""


class _Bounded:
    """The first bytes of an answer that goes on."""

    def __init__(self, stream: Stream, size: int) -> None:
        self._stream = stream
        self._left = size

    @property
    def prompt(self) -> bool:
        """See Reader."""
        return self._stream.prompt

    def readinto(self, buffer: memoryview) -> int:
        """See Reader."""
        if not self._left:
            return 0
        count = self._stream.readinto(buffer[: self._left])
        self._left -= count
        return count

    def pour(self, pipe: Pipe, most: int) -> int:
        """See Reader."""
        count = self._stream.pour(pipe, min(most, self._left))
        self._left -= count
        return count

    def close(self) -> None:
        """See Reader."""
        self._stream.close()


def _check_plain(headers: Mapping[str, str], file: File) -> None:
    """Refuse packed bytes: their places and their digest are not the file's."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise HubError(
            f"asked for {file.path} as it is, the hub sends it packed ({encoding[:20]!r})",
            hint="something on the way packs files; try another --endpoint",
        )


def _check_range(headers: Mapping[str, str], file: File, start: int, stop: int) -> None:
    said = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", headers.get("Content-Range", "").strip())
    if said is None or (int(said[1]), int(said[2]) + 1) != (start, stop) or said[3] not in ("*", str(file.size)):
        raise IntegrityError(
            f"asked for bytes {start}-{stop - 1} of {file.size} of {file.path}, "
            f"the hub sends {headers.get('Content-Range', 'some')[:100]!r}",
            hint=_OTHER,
        )


def _is_part(stream: Stream, file: File, start: int, stop: int) -> bool:
    """Whether a 206 answer's headers describe exactly the part that was asked for, as plain bytes."""
    length = stream.headers.get("Content-Length", "")
    try:
        _check_plain(stream.headers, file)
        _check_range(stream.headers, file, start, stop)
    except (HubError, IntegrityError):
        return False
    # A server that promises fewer bytes than the range has would leave the reader to wait for the rest.
    return not length.isdecimal() or int(length) >= stop - start


def _check_size(headers: Mapping[str, str], file: File) -> None:
    length = headers.get("Content-Length")
    if length is not None and length != str(file.size):
        raise IntegrityError(f"{file.path} should have {file.size} bytes, the hub sends {length}", hint=_OTHER)


def _skip(stream: Stream, size: int, file: File) -> None:
    """Read past what was not asked for: a hub that knows no ranges sends everything."""
    buffer = memoryview(bytearray(min(size, _BUFFER)))
    while size:
        count = stream.readinto(buffer[: min(size, len(buffer))])
        if count == 0:
            raise HubUnavailable(
                f"the hub ended its answer about {file.path} early", hint="pull again: it goes on where it was"
            )
        size -= count
