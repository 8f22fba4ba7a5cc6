"""Hub: the interface of a model source: resolve a ref to a snapshot, and open its files."""

from typing import Protocol

from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot


class Reader(Protocol):
    """A stream of bytes, with the read interface of io.RawIOBase."""

    @property
    def prompt(self) -> bool:
        """Whether the last read's bytes were already in a local buffer, so that the source is not the bottleneck."""

    @property
    def round_trip_s(self) -> float:
        """The connection's current round-trip time in seconds, including queueing on the network; 0 if unknown."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into the start of `buffer`; return how many bytes, 0 at EOF."""

    def close(self) -> None:
        """Release the connection; call it after errors too."""


class Hub(Protocol):
    """A model source. Both methods raise HubError; after `HubUnavailable`, a retry may succeed."""

    @property
    def round_trip_s(self) -> float:
        """The shortest round trip to the hub so far in seconds; 0 if unknown."""

    def resolve(self, ref: Ref) -> Snapshot:
        """Return the commit that `ref` currently points to, with all its files."""

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """Return a reader of the bytes `start` to `stop` (exclusive) of `file`.

        Raise NoRanges on the first call for a file without range requests; later calls download it from its start and
        discard the bytes before `start`.
        """
