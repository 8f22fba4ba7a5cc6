"""Placer: lays blobs and small files out in a view, and counts what that took."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from preheat.snapshot import File
from preheat.views.links import AUTO, COPY, link
from preheat.views.view import BlobPath, Placement


class Placer:
    """Used for one placing. What is right already is left as it is."""

    def __init__(self, blob_path: BlobPath, ways: Sequence[str] = AUTO) -> None:
        self._blob_path = blob_path
        self._ways = tuple(ways)
        self._folders: set[Path] = set()
        self._links: Counter[str] = Counter()
        self._copied = 0

    def put(self, file: File, at: Path) -> None:
        """Put a file's bytes at `at`."""
        self._folder(at.parent)
        way = link(self._blob_path(file.digest), at, self._ways)
        if way is None:
            return
        self._links[way] += 1
        if way == COPY:
            self._copied += file.size
        # What worked once works for the rest: no need to hear every other way refused again.
        self._ways = (way, *(other for other in self._ways if other != way))

    def point(self, at: Path, target: str) -> bool:
        """Make `at` a symlink to `target`; whether symlinks can be had here at all."""
        self._folder(at.parent)
        if at.is_symlink() and str(at.readlink()) == target:
            return True
        aside = _aside(at)
        try:
            aside.symlink_to(target)
        except OSError:
            return False
        aside.replace(at)
        return True

    def write(self, at: Path, data: bytes) -> None:
        """Make `at` a small file that holds `data`, in one step."""
        self._folder(at.parent)
        if not at.is_symlink() and at.is_file() and at.read_bytes() == data:
            return
        aside = _aside(at)
        aside.write_bytes(data)
        aside.replace(at)

    def placement(self) -> Placement:
        """Say what it came to."""
        return Placement(dict(self._links), self._copied)

    def _folder(self, folder: Path) -> None:
        if folder not in self._folders:
            folder.mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)


def _aside(at: Path) -> Path:
    return at.with_name(f".{at.name[:200]}.{os.getpid()}.new")
