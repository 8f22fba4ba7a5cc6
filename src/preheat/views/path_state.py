"""Path state: what is at a path where a view will have a file."""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import GIT_SHA1, SHA256, Digest
from preheat.core.placement import Look

_BLOB = re.compile(rf".*/blobs/({SHA256}|{GIT_SHA1})/([0-9a-f]{{2}})/(\2[0-9a-f]{{38,62}})")


@dataclass(frozen=True, slots=True)
class PathState:
    """What was seen at a path: `look` is that of the file itself, links followed; None where nothing lies there.

    `regular` says that it is a regular file, or leads to one; `target` is what a symlink says. `device` and `names` are
    the file's filesystem and its number of hard links. `blocked` is a path above it that is no folder.
    """

    look: Look | None = None
    regular: bool = False
    target: str = ""
    device: int = 0
    names: int = 0
    blocked: Path | None = None

    @property
    def blob(self) -> Digest | None:
        """Name the blob of a library that a symlink leads to, there or not; nobody but preheat makes such links."""
        if (match := _BLOB.fullmatch(self.target)) is None or len(match[3]) not in (40, 64):
            return None
        if len(match[3]) != (64 if match[1] == SHA256 else 40):
            return None
        return Digest(match[1], match[3])


def see(path: Path) -> PathState:
    """Look at a path. Costs one or two stat(2)."""
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
            return PathState(Look.of(status), target=target)
    return PathState(Look.of(status), stat.S_ISREG(status.st_mode), target, status.st_dev, status.st_nlink)
