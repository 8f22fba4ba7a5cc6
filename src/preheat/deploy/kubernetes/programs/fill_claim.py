"""Fill claim: copy folders of this image to a volume, under a name that appears only when all of them are there."""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Sequence

DONE = "complete"


def fill(volume: Path, name: str, folders: Sequence[str]) -> bool:
    """Copy `folders` to `volume`/`name`; return whether this call did."""
    target = volume / name
    if (target / DONE).exists():
        return False
    aside = Path(tempfile.mkdtemp(dir=str(volume), prefix=f".{name}-"))
    try:
        for folder in folders:
            to = aside / folder.lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, str(to), symlinks=True)
        aside.chmod(0o755)
        (aside / DONE).touch()
        os.sync()
        try:
            aside.rename(target)
        except OSError:
            # Another pod may have filled it first.
            if not (target / DONE).exists():
                raise
            return False
        os.sync()
        return True
    finally:
        remove(aside)


def remove(folder: Path) -> None:
    """Remove a folder if it is there, also if folders in it are read-only."""
    for at, _, _ in os.walk(str(folder)):
        Path(at).chmod(0o700)
    shutil.rmtree(str(folder), ignore_errors=True)


if __name__ == "__main__":
    print("filled" if fill(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]) else "filled before", flush=True)
