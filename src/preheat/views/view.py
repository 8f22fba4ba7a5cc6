"""View: the library in another program's layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from preheat.digest import Digest
from preheat.snapshot import Snapshot


class View(Protocol):
    """One layout. What it places costs no second copy, and placing again changes nothing."""

    kind: str

    def place(self, snapshot: Snapshot, blob_path: Callable[[Digest], Path], at: Path) -> None:
        """Lay the snapshot's files, all of which have blobs, out below `at`."""

    def environ(self, at: Path) -> dict[str, str]:
        """Say which variables make the layout's own client look below `at`."""
