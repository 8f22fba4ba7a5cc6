"""Filesystems with features that the machine's own may lack, and a folder open to all users."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def xfs() -> Iterator[Path]:
    """A filesystem with reflinks, open to all users."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        image, at = Path(folder, "image"), Path(folder, "at")
        at.mkdir()
        with open(image, "wb") as file:
            file.truncate(400_000_000)
        try:
            for command in (("mkfs.xfs", "-q", "-m", "reflink=1", image), ("mount", "-o", "loop", image, at)):
                subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no XFS can be made and mounted here: {error}")
        yield at
        subprocess.run(["umount", at], check=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
