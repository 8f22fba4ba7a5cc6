"""Folder growth: when files appeared in a folder that another process writes to."""

import os
import time
from pathlib import Path

from preheat.proof.conditions.page_cache_residency import regular_files
from preheat.proof.start.timeline import Span, merged


class FolderGrowth:
    """Watch `folder` by polling, to find out when files in it were written, and their size.

    A file's span is from its first sighting to its last modification. Files are identified by inode, so renames do not
    matter.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first_seen: dict[int, float] = {}

    def look(self) -> None:
        """Record new files."""
        now = time.time()
        for inode in self._files():
            self._first_seen.setdefault(inode, now)

    def spans(self, began: float) -> tuple[Span, ...]:
        """Return when files were written, in seconds since `began`. `began` is a time.time() value."""
        return merged(
            Span(self._first_seen.get(inode, found.st_mtime) - began, found.st_mtime - began)
            for inode, found in self._files().items()
            if found.st_size
        )

    @property
    def size(self) -> int:
        """Return the total size of the files now; hard links count once."""
        return sum(found.st_size for found in self._files().values())

    def _files(self) -> dict[int, os.stat_result]:
        return {status.st_ino: status for _, status in regular_files([self._folder])}
