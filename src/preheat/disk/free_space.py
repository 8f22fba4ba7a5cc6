"""Free space: the bytes that a plan needs on a disk, and those that are free."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from preheat.core.units import say_size

SPARE = 64 << 20  # bytes left free for records, journals and other programs


@dataclass(frozen=True, slots=True)
class DiskNeed:
    """The bytes that a plan needs on the disk of the folder `at`, and the `free` ones, without a reserve."""

    at: Path
    needed: int
    free: int

    @property
    def fits(self) -> bool:
        """Whether the disk has enough free space."""
        return self.needed <= self.free

    @property
    def shortage(self) -> str:
        """Return a message for a disk with too little free space."""
        return f"needs {say_size(self.needed)}, but {self.at} has only {say_size(self.free)} free"


def disk_need(at: Path, needed: int, spare: int = SPARE) -> DiskNeed:
    """Return the need of `needed` bytes at a folder, which need not exist yet; `spare` bytes are kept free."""
    return DiskNeed(at, needed, max(shutil.disk_usage(existing(at)).free - spare, 0))


def existing(path: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(one for one in (path, *path.parents) if os.path.isdir(one))  # noqa: PTH112 - never raises
