"""Free space: the bytes that a plan needs on a disk, and those that are free."""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from preheat.core.errors import NoSpace
from preheat.core.units import say_size

SPARE = 64 << 20  # bytes left free for records, journals and other programs


class DiskNeed(msgspec.Struct, frozen=True):
    """The bytes that a plan needs on the disk of the folder `at`, and those that are free, minus a `reserve`."""

    at: Path
    needed: int
    free: int
    reserve: int = 0

    @property
    def fits(self) -> bool:
        """Whether the disk has enough free space."""
        return self.needed <= self.free

    @property
    def shortage(self) -> str:
        """Return a message for a disk with too little free space."""
        kept = f", besides {say_size(self.reserve)} that are kept free" if self.reserve else ""
        return f"needs {say_size(self.needed)}, but {self.at} has only {say_size(self.free)} free{kept}"


def disk_need(at: Path, needed: int, spare: int = SPARE) -> DiskNeed:
    """Return the need of `needed` bytes in the folder `at`, which need not exist; `spare` is the reserve in bytes."""
    return DiskNeed(at, needed, max(free_bytes(existing(at)) - spare, 0), spare)


def free_bytes(at: Path) -> int:
    """Return how many bytes this user can write to the disk of an existing path. Raise OSError."""
    disk = os.statvfs(at)
    return disk.f_bavail * disk.f_frsize


def disk_needs(wanted: Iterable[tuple[Path, int]]) -> tuple[DiskNeed, ...]:
    """Add up the bytes `wanted` in each folder for each disk; the first folder on a disk represents it in messages."""
    needed: dict[int, tuple[Path, int]] = {}
    for at, size in wanted:
        device = existing(at).stat().st_dev
        first, before = needed.get(device, (at, 0))
        needed[device] = first, before + size
    return tuple(disk_need(at, size) for at, size in needed.values())


def require_space(disks: Iterable[DiskNeed]) -> None:
    """Raise NoSpace for the first disk with too little free space."""
    for disk in disks:
        if not disk.fits:
            raise NoSpace(disk.shortage, hint="free some disk space, or choose another folder with --library")


def existing(path: Path) -> Path:
    """Return the nearest existing folder: `path` itself, or one of its parents."""
    return next(one for one in (path, *path.parents) if os.path.isdir(one))  # noqa: PTH112 - never raises
