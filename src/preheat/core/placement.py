"""Placement: what is known about a file in a view: who placed it, its digest, and its stat at that time."""

import os
from dataclasses import dataclass

from preheat.core.digest import Digest

# Placed by preheat; about to be; the user's own with the right bytes; the user's own with others, to be left.
OURS, BEGUN, THEIRS, KEPT = "ours", "begun", "theirs", "kept"
WORDS = (OURS, BEGUN, THEIRS, KEPT)


@dataclass(frozen=True, slots=True)
class Look:
    """How a file looks: its inode, size in bytes, and times of modification and of change, in ns of the epoch."""

    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0

    @classmethod
    def of(cls, status: os.stat_result) -> "Look":
        """Return the look of a file with this status."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def resembles(self, other: "Look") -> bool:
        """Return whether all but the time of change are equal, which a new name or another mode moves too."""
        return (self.inode, self.size, self.mtime_ns) == (other.inode, other.size, other.mtime_ns)


@dataclass(frozen=True, slots=True)
class Mark:
    """One line about one path; of several, the newest counts. `at_ns` is when it was written, in ns of the epoch.

    A mark without a look, as one that was BEGUN, says whose the path is, and nothing about what lies there now.
    """

    word: str
    digest: Digest
    look: Look
    at_ns: int
