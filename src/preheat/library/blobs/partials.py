"""Partials: the folder of a library's incomplete blobs."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import Busy
from preheat.core.snapshot import File
from preheat.library.blobs.blobs import SMALL
from preheat.library.blobs.disk_errors import disk
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.journal import Journal, boot_id
from preheat.library.blobs.partial import Partial
from preheat.library.blobs.partial_listener import Watcher


class Partials:
    """A folder with a file `ALGORITHM-HEX.part` for each partial, and its journal."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def size(self, digest: Digest) -> int:
        """Return the disk usage of a partial, in bytes."""
        try:
            return os.stat(self._path(digest)).st_blocks * 512  # noqa: PTH116 - as in Blobs: for thousands of files
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def progress(self, file: File) -> int:
        """Return how many bytes of `file` this or another process has downloaded so far, from its journal."""
        if file.size <= SMALL:
            return 0  # without a journal
        journal = Path(self._path(file.digest)).with_suffix(".journal")
        return sum(stop - start for start, stop in Journal.read(journal, file.size, boot_id()).ranges)

    def begin(self, file: File, has: Callable[[Digest], bool], watcher: Watcher | None) -> Partial | None:
        """Open and lock the partial of `file`; return None if `has` its digest by now. Raise Busy: see Library."""
        path = self._path(file.digest)
        with disk(path):
            descriptor = take(path)
        if descriptor is None:
            raise Busy(f"another preheat process is downloading {file.path}", hint="wait for it, or stop it")
        if has(file.digest):
            for left in (Path(path), Path(path).with_suffix(".journal")):
                with disk(left), contextlib.suppress(FileNotFoundError):
                    left.unlink()
            os.close(descriptor)
            return None
        return Partial(path, file, descriptor, watcher)

    def _path(self, digest: Digest) -> str:
        return f"{self.folder}/{digest.algorithm}-{digest.hex}.part"
