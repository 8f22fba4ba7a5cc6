"""Workplace: new folders for what a proof or trace brings, removed after it; by the next one, if it was killed."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PROOF, TRACE = "proof-", "trace-"
_LOCK = "in-use"


@contextlib.contextmanager
def fresh(workplace: Path, prefix: str = PROOF) -> Iterator[Path]:
    """Make a new folder, and remove it after. The kernel keeps its lock for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=workplace))
    try:
        with FileLock(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(workplace: Path) -> None:
    """Remove what proofs and traces have left that were killed: the folders that nobody holds."""
    for folder in (*workplace.glob(f"{PROOF}*"), *workplace.glob(f"{TRACE}*")):
        # One without a lock has just been made.
        if not (folder / _LOCK).is_file():
            continue
        with contextlib.suppress(Timeout, OSError), FileLock(folder / _LOCK, blocking=False):
            shutil.rmtree(folder, ignore_errors=True)
