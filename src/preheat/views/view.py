"""View: the library in another program's layout."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from preheat.digest import Digest
from preheat.snapshot import Snapshot

BlobPath = Callable[[Digest], Path]


@dataclass(frozen=True, slots=True)
class Placement:
    """What placing came to: how many files were linked in which way, and how many bytes had to be copied.

    What was in place already counts nowhere; `leads` says whether any of it, new or not, is a symlink to a blob.
    """

    links: Mapping[str, int]
    copied: int
    leads: bool = False


class View(Protocol):
    """One layout. What it places costs no second copy, and placing again changes nothing."""

    kind: str
    renames: bool
    """Whether files may have other names here than in their repository."""

    def place(self, snapshot: Snapshot, blob_path: BlobPath, at: Path, *, whole: bool) -> Placement:
        """Lay the snapshot's files, all of which have blobs, out below `at`; `whole` if the commit has no others."""

    def environ(self, at: Path) -> dict[str, str]:
        """Say which variables make the layout's own client look below `at`."""
