"""Path state: stat a path where a view will place a file."""

import os
import re
import stat
from pathlib import Path

import msgspec

from preheat.core.digest import GIT_SHA1, SHA256, Digest
from preheat.core.placement import StatFields

_BLOB = rf".*/blobs/({SHA256}|{GIT_SHA1})/([0-9a-f]{{2}})/(\2[0-9a-f]{{38,62}})"


class PathState(msgspec.Struct, frozen=True):
    """The stat(2) facts of a path; `look` is None if the path does not exist.

    `look` is of the file itself, symlinks followed. `regular`: it is a regular file, or a symlink to one. `target` is
    the symlink's target. `device` and `names` are st_dev and st_nlink. `blocked` is a parent path that is not a folder.
    """

    look: StatFields | None = None
    regular: bool = False
    target: str = ""
    device: int = 0
    names: int = 0
    blocked: Path | None = None

    @property
    def blob(self) -> Digest | None:
        """Return the digest of the blob that the symlink points to, even if dangling; only preheat makes these."""
        if (match := re.fullmatch(_BLOB, self.target)) is None or len(match[3]) not in (40, 64):
            return None
        if len(match[3]) != (64 if match[1] == SHA256 else 40):
            return None
        return Digest(match[1], match[3])


def see(path: Path) -> PathState:
    """Return the state of a path. Costs one or two stat(2) calls."""
    try:
        status = path.lstat()
        target = str(path.readlink()) if stat.S_ISLNK(status.st_mode) else ""
    except FileNotFoundError:
        return PathState()
    except NotADirectoryError:
        return PathState(blocked=next(above for above in path.parents if os.path.lexists(above)))
    if target:
        try:
            status = path.stat()
        except OSError:
            return PathState(StatFields.of(status), target=target)
    return PathState(StatFields.of(status), stat.S_ISREG(status.st_mode), target, status.st_dev, status.st_nlink)
