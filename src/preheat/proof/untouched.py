"""Untouched: folders of the app's own, which a proof leaves as it found them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def untouched(folders: Sequence[Path]) -> Iterator[None]:
    """Remove in the end what came to be in `folders` meanwhile; what was there before is not looked at."""
    before = {folder: _everything(folder) for folder in folders}
    try:
        yield
    finally:
        for folder, known in before.items():
            _remove(_everything(folder) - known)


def _everything(folder: Path) -> set[Path]:
    """List the folder, those above it that are not there, and all below it; links are not followed."""
    found = {place for place in (folder, *folder.parents) if place.is_dir()}
    for where, folders, names in os.walk(folder):
        found |= {Path(where, name) for name in (*folders, *names)}
    return found


def _remove(paths: set[Path]) -> None:
    # The deepest first, so that folders are empty when their turn comes.
    for path in sorted(paths, key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
