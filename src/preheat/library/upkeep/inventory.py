"""Inventory: every blob in the library, with all its names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in the library: the names that lead to them, the first of which is a file and no link."""

    names: tuple[Digest, ...]
    size: int
    blocks: int
    changed_at: float


def names_by_blob(root: Path) -> dict[str, int]:
    """Say for each name below `blobs/`, as `algorithm:hex`, by a number which blob it leads to.

    Folders' listings tell the numbers on most filesystems, so that no blob is asked for itself.
    """
    listed: dict[str, int] = {}
    for algorithm in _folders(root):
        before, numbers = len(listed), set()
        for front in _folders(Path(algorithm.path)):
            with os.scandir(front.path) as entries:
                for entry in entries:
                    number = _end(entry) if entry.is_symlink() else entry.inode()
                    if number:
                        listed[f"{algorithm.name}:{entry.name}"] = number
                        numbers.add(number)
        if len(numbers) < len(listed) - before:
            # Two names of one blob differ in their algorithm: this listing makes its numbers up, as FUSE's may.
            return {str(name): number for number, blob in enumerate(inventory(root)) for name in blob.names}
    return listed


def _end(entry: os.DirEntry[str]) -> int:
    """Say where a link leads, 0 if nowhere."""
    try:
        return entry.stat().st_ino
    except OSError:
        return 0


def inventory(root: Path) -> Iterator[Blob]:
    """Describe all blobs below `root`, in no order; each is asked for itself."""
    found: dict[tuple[int, int], tuple[list[Digest], os.stat_result]] = {}
    for algorithm, entry in _entries(root):
        try:
            name = Digest(algorithm, entry.name)
            status = entry.stat()
        except (UsageError, OSError):
            continue  # not ours, or gone since it was listed
        names, _ = found.setdefault((status.st_dev, status.st_ino), ([], status))
        names.insert(len(names) if entry.is_symlink() else 0, name)
    for names, status in found.values():
        yield Blob(tuple(names), status.st_size, status.st_blocks * 512, max(status.st_mtime, status.st_ctime))


def _entries(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    for algorithm in _folders(root):
        for front in _folders(Path(algorithm.path)):
            with os.scandir(front.path) as entries:
                for entry in entries:
                    yield algorithm.name, entry


def _folders(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
