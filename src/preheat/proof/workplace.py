"""Workplace: new folders for a proof's libraries and caches, removed after it; by the next, when it was killed."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX, _LOCK = "proof-", "in-use"


@contextlib.contextmanager
def fresh(workplace: Path) -> Iterator[Path]:
    """Make a new folder, and remove it after. The kernel keeps its lock for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=workplace))
    try:
        with FileLock(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(workplace: Path) -> None:
    """Remove what proofs have left that were killed: the folders that nobody holds."""
    for folder in workplace.glob(f"{_PREFIX}*"):
        # One without a lock has just been made.
        if not (folder / _LOCK).is_file():
            continue
        with contextlib.suppress(Timeout, OSError), FileLock(folder / _LOCK, blocking=False):
            shutil.rmtree(folder, ignore_errors=True)
