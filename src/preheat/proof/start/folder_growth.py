"""Folder growth: when files appeared in a folder that another process writes to."""

import os
import stat
import time
from pathlib import Path

from preheat.proof.start.timeline import Span, merged


class Growth:
    """Look at `folder` again and again; then say when its files were written, and how much.

    A file counts from when it was first seen to its last modification, under whatever names: its inode is followed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first_seen: dict[int, float] = {}

    def look(self) -> None:
        """Note what is new."""
        now = time.time()
        for inode in self._files():
            self._first_seen.setdefault(inode, now)

    def spans(self, began: float) -> tuple[Span, ...]:
        """Say when files were written, in seconds since `began` of time.time()."""
        return merged(
            Span(self._first_seen.get(inode, found.st_mtime) - began, found.st_mtime - began)
            for inode, found in self._files().items()
            if found.st_size
        )

    @property
    def size(self) -> int:
        """Say how many bytes lie there now, each file once."""
        return sum(found.st_size for found in self._files().values())

    def _files(self) -> dict[int, os.stat_result]:
        found: dict[int, os.stat_result] = {}
        for where, _folders, names in os.walk(self._folder):
            for name in names:
                try:
                    status = Path(where, name).lstat()
                except OSError:
                    continue  # renamed meanwhile
                if stat.S_ISREG(status.st_mode):
                    found[status.st_ino] = status
        return found
