"""Reflinks: a filesystem that has them, for as long as it is wanted; root makes it."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

_OWN = 600_000_000  # what XFS keeps for itself, and its least size


@contextlib.contextmanager
def xfs(folder: Path, room: int) -> Iterator[Path | None]:
    """Mount one below `folder` with `room` bytes for files; None where it cannot be."""
    image, at = folder / f"xfs-{room}.image", folder / f"xfs-{room}"
    at.mkdir()
    with open(image, "wb") as file:
        file.truncate(room + _OWN)
    try:
        for command in (
            ["mkfs.xfs", "-q", "-m", "reflink=1", str(image)],
            ["mount", "-o", "loop", str(image), str(at)],
        ):
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)
        image.unlink()
