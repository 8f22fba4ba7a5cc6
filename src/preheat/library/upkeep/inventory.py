"""Inventory: every blob in the library, with all its names."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from preheat.core.digest import Digest
from preheat.core.errors import UsageError


class Blob(msgspec.Struct, frozen=True):
    """A blob with all its names, of which the first is not a symlink; `size` and `blocks` in bytes.

    `linked`: it also has hard links outside the library's `blobs/`, such as those in views.
    """

    names: tuple[Digest, ...]
    size: int
    blocks: int
    changed_at: float
    linked: bool = False


def blob_numbers(root: Path) -> dict[str, int]:
    """Map each name below `blobs/`, as `algorithm:hex`, to a number that is the same for all names of a blob.

    The number is usually the inode, which most filesystems return in folder listings: this saves a stat(2) per blob.
    """
    listed: dict[str, int] = {}
    for algorithm in _folders(root):
        before, numbers = len(listed), set()
        for front in _folders(Path(algorithm.path)):
            with os.scandir(front.path) as entries:
                for entry in entries:
                    number = _target_inode(entry) if entry.is_symlink() else entry.inode()
                    if number:
                        listed[f"{algorithm.name}:{entry.name}"] = number
                        numbers.add(number)
        if len(numbers) < len(listed) - before:
            # A blob has only one name per algorithm, so these inode numbers are invalid, as on some FUSE filesystems.
            return {str(name): number for number, blob in enumerate(inventory(root)) for name in blob.names}
    return listed


def _target_inode(entry: os.DirEntry[str]) -> int:
    """Return the inode number that a symlink points to; 0 if broken."""
    try:
        return entry.stat().st_ino
    except OSError:
        return 0


def partial_bytes(root: Path) -> int:
    """Return the disk usage of interrupted downloads, and those in progress, of the library at `root`."""
    size = 0
    for path in (root / "partial").rglob("*.part"):
        try:
            size += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue  # completed since
    return size


def inventory(root: Path) -> Iterator[Blob]:
    """Yield all blobs below `root`, in no order. Costs a stat(2) per name."""
    found: dict[tuple[int, int], tuple[list[Digest], os.stat_result]] = {}
    hard: Counter[tuple[int, int]] = Counter()
    for algorithm, entry in _entries(root):
        try:
            name = Digest(algorithm, entry.name)
            status = entry.stat()
        except (UsageError, OSError):
            continue  # not a blob, or removed since it was listed
        key = (status.st_dev, status.st_ino)
        names, _ = found.setdefault(key, ([], status))
        names.insert(len(names) if entry.is_symlink() else 0, name)
        hard[key] += not entry.is_symlink()
    for key, (names, status) in found.items():
        changed_at, linked = max(status.st_mtime, status.st_ctime), status.st_nlink > hard[key]
        yield Blob(tuple(names), status.st_size, status.st_blocks * 512, changed_at, linked)


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
