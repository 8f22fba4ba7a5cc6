"""Filesystems that have what the machine's own may lack."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A filesystem that has reflinks, for the one kind of link that the machine's own may lack."""
    folder = tmp_path_factory.mktemp("xfs")
    image, at = folder / "image", folder / "at"
    at.mkdir()
    with open(image, "wb") as file:
        file.truncate(400_000_000)
    try:
        for command in (
            ["mkfs.xfs", "-q", "-m", "reflink=1", str(image)],
            ["mount", "-o", "loop", str(image), str(at)],
        ):
            subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no XFS can be made and mounted here: {error}")
    yield at
    subprocess.run(["umount", str(at)], check=True)
