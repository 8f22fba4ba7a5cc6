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
    """Create a temporary folder, and remove it on exit. The folder is locked until then, or until the process ends."""
    folder, lock = _made(workplace, prefix)
    try:
        yield folder
    finally:
        remove_tree(folder)
        os.close(lock)


def sweep(workplace: Path) -> None:
    """Remove the folders of proofs and traces that were killed. Such folders are no longer locked."""
    for folder in (*workplace.glob(f"{PROOF}*"), *workplace.glob(f"{TRACE}*")):
        with contextlib.suppress(OSError):
            lock = take(folder / IN_USE)
            if lock is not None:
                remove_tree(folder)
                os.close(lock)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all below it, as far as permitted; folders that deny access to their owner too."""
    for place, names, _ in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(OSError):
                if not path.is_symlink() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _made(workplace: Path, prefix: str) -> tuple[Path, int]:
    """Create a folder and lock it. If a sweep of another process removes it in between, create another."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=workplace))
        with contextlib.suppress(FileNotFoundError):
            lock = take(folder / IN_USE)
            if lock is not None:
                return folder, lock
