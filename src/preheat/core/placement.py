"""Placement: the record of a file in a view: whether preheat or the user placed it, its digest and its stat."""

import os

import msgspec

from preheat.core.digest import Digest

# Placed by preheat; about to be placed; the user's file with the same bytes; the user's file with other bytes (kept).
OURS, BEGUN, THEIRS, KEPT = "ours", "begun", "theirs", "kept"
STATES = (OURS, BEGUN, THEIRS, KEPT)


class StatFields(msgspec.Struct, frozen=True):
    """A file's stat: its inode, size in bytes, mtime and ctime in ns since the epoch."""

    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0

    @classmethod
    def of(cls, status: os.stat_result) -> "StatFields":
        """Return the fields of a stat result."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def resembles(self, other: "StatFields") -> bool:
        """Return whether all but the ctime are equal; a rename or chmod changes the ctime too."""
        return (self.inode, self.size, self.mtime_ns) == (other.inode, other.size, other.mtime_ns)


class Mark(msgspec.Struct, frozen=True):
    """A record of one path; the newest for a path is valid. `at_ns`: when it was written, in ns since the epoch.

    A mark without stat fields, such as BEGUN, records who owns the path, but not the state of the file.
    """

    state: str
    digest: Digest
    look: StatFields
    at_ns: int
