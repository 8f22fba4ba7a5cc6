"""Disk: a small separate filesystem, to fill up, to make read-only, or to differ from the library's."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A tmpfs in a mount namespace: programs are run `inside`; tests inspect it from outside at `path`."""

    def __init__(self, keeper: int, mounted: Path) -> None:
        self.inside = (
            "nsenter",
            f"--target={keeper}",
            "--user",
            "--mount",
            "--preserve-credentials",
            f"--wd={mounted}",
        )
        self.mounted = mounted
        self.path = Path(f"/proc/{keeper}/root{mounted}")


@contextmanager
def disk(at: Path, options: str) -> Iterator[Disk]:
    """Mount a disk at a folder; skip the test if the kernel does not permit it."""
    at.mkdir()
    mount = f"mount -t tmpfs -o {options} preheat-test '{at}' && echo mounted && exec sleep 600"
    with subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as keeper:
        assert keeper.stdout is not None
        assert keeper.stderr is not None
        if keeper.stdout.readline() != "mounted\n":
            pytest.skip(f"no filesystem can be mounted here: {keeper.stderr.read().strip()}")
        try:
            yield Disk(keeper.pid, at)
        finally:
            keeper.kill()
