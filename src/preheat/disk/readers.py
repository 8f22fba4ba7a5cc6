"""Readers: which users may read a file, by its mode and those of the folders that it is in.

A mode that excludes only a group, such as 0604, counts as one that excludes no user.
"""

import functools
import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Readers:
    """The owner and the users that are in all of `groups`: all users if that is empty, no other user if it is None."""

    groups: frozenset[int] | None = frozenset()

    def beyond(self, others: "Readers") -> bool:
        """Return whether a user could be among these readers but not among the `others`."""
        if self.groups is None or others.groups == frozenset():
            return False
        return others.groups is None or not others.groups <= self.groups

    def through(self, look: os.stat_result, mode: int, bit: int) -> "Readers":
        """Return those of these readers that a file or folder admits; `bit` is its permission bit for all others."""
        if self.groups is None or mode & bit:
            return self
        # A group with the number of its user has no other members, by convention.
        if mode & bit << 3 and look.st_gid not in (0, look.st_uid):
            return Readers(self.groups | {look.st_gid})
        return Readers(None)


def readers(path: Path, look: os.stat_result, mode: int) -> Readers:
    """Return who could read the file `path`, whose folder is real, if it had this mode. Raise OSError."""
    return readers_below(path.parent).through(look, mode, stat.S_IROTH)


@functools.lru_cache(maxsize=4096)
def readers_below(folder: Path) -> Readers:
    """Return who can open files in a folder that everybody may read; symlinks are followed. Raise OSError."""
    real = Path(os.path.realpath(folder))
    found = Readers() if real == real.parent else readers_below(real.parent)
    look = real.stat()
    return found.through(look, look.st_mode, stat.S_IXOTH)
