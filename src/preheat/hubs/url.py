"""Url: a single file at an HTTP address as a hub, identified by its digest."""

import re

from preheat.core.errors import AccessDenied, HubError, NoSize, NotFound, PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.error_boundary import blames_the_hub
from preheat.hubs.file_range import FileLocation, Ranges
from preheat.hubs.http_errors import read_temporary
from preheat.hubs.hub import Reader
from preheat.net.http import Transport
from preheat.net.response import Stream


class Url:
    """See Hub. The server need not support range requests, but must send the file's size."""

    round_trip_s = 0.0

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._ranges = Ranges(transport, _denied)

    @blames_the_hub
    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub. Requests one byte with GET, since some servers do not support HEAD."""
        stream = self._transport.stream(ref.address, {"Range": "bytes=0-0"})
        try:
            size = _size(stream, ref)
        finally:
            stream.close()
        return Snapshot(ref, ref.revision, (File(ref.file_name, size, ref.digest),))

    @blames_the_hub
    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        return self._ranges.open(FileLocation(snapshot.ref.address, snapshot.ref.address), file, start, stop)


def _size(stream: Stream, ref: Ref) -> int:
    of = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d{1,18})", stream.headers.get("Content-Range", "").strip())
    length = stream.headers.get("Content-Length", "")
    packed = stream.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")
    match stream.status:
        case 206 | 416 if of:
            return int(of[1])
        case 200 if re.fullmatch(r"\d{1,18}", length) and not packed:
            return int(length)
        case 200 | 206 | 416:
            raise NoSize(
                f"{ref.address} does not send the file's size", hint="use another server, or a lock that has the size"
            )
        case _:
            raise _denied(stream, ref.address)


def _denied(stream: Stream, what: str) -> PreheatError:
    if stream.status in (404, 410):
        return NotFound(f"{what}: no such file", hint="check the address")
    if stream.status in (401, 403):
        return AccessDenied(f"{what}: access is denied", hint="use an address that needs no password")
    temporary = read_temporary(stream.status, stream.headers, what, "an account's token")
    return temporary or HubError(f"{what}: the server answered {stream.status}", hint="check the address")
