"""Partial listener: the protocol of readers that follow a partial while its bytes arrive."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from preheat.library.blobs.ranges import ByteRange


class Watcher(Protocol):
    """All methods are called by many threads at once, between two writes: none may wait."""

    def began(self, path: Path, here: Iterable[ByteRange]) -> None:
        """Learn where the bytes lie until they are sealed, and which are there from before."""

    def wrote(self, written: ByteRange) -> None:
        """Learn that bytes are there."""

    def forgot(self, here: Iterable[ByteRange]) -> None:
        """Learn that some that were there are wrong, and that only `here` is left."""

    def wanted(self) -> int | None:
        """Say which byte somebody waits for; None if nobody does."""
