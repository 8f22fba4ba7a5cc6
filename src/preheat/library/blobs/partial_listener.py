"""Partial listener: the protocol for readers that stream a partial while it downloads."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from preheat.library.blobs.ranges import ByteRange


class Watcher(Protocol):
    """Callbacks about one partial. Many threads call them at once, between writes: they must not block."""

    def began(self, path: Path, here: Iterable[ByteRange]) -> None:
        """Start with the partial at `path`, which already has the ranges `here`."""

    def wrote(self, written: ByteRange) -> None:
        """Handle a range that was written."""

    def forgot(self, here: Iterable[ByteRange]) -> None:
        """Handle the removal of wrong bytes; only the ranges `here` remain."""

    def wanted(self) -> int | None:
        """Return the offset that a reader is waiting for, or None."""
