"""Engine files: a folder for the archives that are exchanged with podman and docker, as large as images."""

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path

from preheat.disk.temporary_file import IN_USE, create, is_left

_PREFIX = "preheat-image-"


class EngineFiles:
    """A new folder in `place`, until `close` or the end of this object. Removes those that killed processes left."""

    def __init__(self, place: Path) -> None:
        for folder in place.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):  # another process was faster
                if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink() and is_left(folder / IN_USE):
                    shutil.rmtree(folder, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        # It has its name only once it is locked: others would remove the folder.
        new, lock = create(self.path / IN_USE)
        new.rename(self.path / IN_USE)
        self._end = weakref.finalize(self, _remove, self.path, lock)

    def close(self) -> None:
        """Remove the folder."""
        self._end()


def _remove(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
