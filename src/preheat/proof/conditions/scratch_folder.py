"""Scratch folder: temporary folders of a proof or trace, removed afterwards, or by the next run."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from preheat.disk.temporary_file import IN_USE, PROOF, TRACE
from preheat.library.blobs.file_lock import take


@contextlib.contextmanager
def fresh(workplace: Path, prefix: str = PROOF) -> Iterator[Path]:
    """Make a new folder, and remove it afterwards. Its lock lasts until then, or until this process ends."""
    folder, lock = _made(workplace, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(workplace: Path) -> None:
    """Remove the folders that killed proofs and traces left: those whose lock nobody holds."""
    for folder in (*workplace.glob(f"{PROOF}*"), *workplace.glob(f"{TRACE}*")):
        with contextlib.suppress(OSError):
            lock = take(folder / IN_USE)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _made(workplace: Path, prefix: str) -> tuple[Path, int]:
    """Make a folder and lock it. A sweep of another process may take it in between: then make another."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=workplace))
        with contextlib.suppress(FileNotFoundError):
            lock = take(folder / IN_USE)
            if lock is not None:
                return folder, lock
