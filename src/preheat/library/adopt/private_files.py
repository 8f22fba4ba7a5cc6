"""Private files: files that other users cannot read now, but could as blobs, which have mode 0444."""

import os
from pathlib import Path

from preheat.disk.free_space import existing
from preheat.disk.readers import readers, readers_below
from preheat.library.blobs.partial import BLOB_MODE

IN_LIBRARY = "other users cannot read it, but could in the library"
AS_LINK = "other users cannot read it, but could if it were a hard link to a blob"


def is_opened_by_library(path: Path, look: os.stat_result, root: Path) -> bool:
    """Return whether users who cannot read a file could read a blob with its bytes. Raise OSError.

    `look` is the stat result of the file, `root` the library's folder.
    """
    blobs = readers_below(existing(root / "blobs" / "sha256"))
    return blobs.beyond(readers(path, look, look.st_mode))


def is_opened_by_link(path: Path, look: os.stat_result) -> bool:
    """Return whether more users could read the file if it became a blob by a hard link, and so got its mode."""
    return readers(path, look, BLOB_MODE).beyond(readers(path, look, look.st_mode))
