"""Hub: the protocol of everything that resolves refs to snapshots and opens their files."""

from typing import Protocol

from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.disk.splice import Pipe


class Reader(Protocol):
    """Bytes on their way: as io.RawIOBase reads them."""

    @property
    def prompt(self) -> bool:
        """Whether the last read found its bytes waiting, so that not where they come from was slow."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the front of `buffer`; return how many bytes, 0 at the end."""

    def pour(self, pipe: Pipe, most: int, /) -> int:
        """Put up to `most` bytes into an empty `pipe`; return how many, 0 if they have to be read, or at the end."""

    def close(self) -> None:
        """Let go of the connection; call it however the reading went."""


class Hub(Protocol):
    """Resolve names, open files. Both raise HubError; `HubUnavailable` means that asking again may help."""

    def resolve(self, ref: Ref) -> Snapshot:
        """Find the commit that `ref` means now, with all its files."""

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """Read bytes `start` up to, not including, `stop` of `file`.

        Raise NoRanges, the first time, where only whole files can be had; later calls read past what was not asked for.
        """
