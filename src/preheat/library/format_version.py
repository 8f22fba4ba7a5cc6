"""Format: which form a library's files have, in a file of its own: docs/library-format.md."""

import errno
from pathlib import Path

from preheat.core.errors import LibraryError
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.partial import disk_trouble
from preheat.library.small_files import read_small

_FORMAT = "1"


def write_format(root: Path) -> None:
    """Say in a library which form it has. Raise OSError."""
    write_whole(root / "format", f"{_FORMAT}\n".encode())


def require_known_format(root: Path) -> None:
    """Raise LibraryError if there is a library at `root` whose form is another one."""
    try:
        found = read_small(root / "format").decode("ascii", "replace").strip()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise disk_trouble(error, root) from error
    if found != _FORMAT:
        raise LibraryError(
            f"{root} is a library of format {found[:20]!r}, and this preheat knows format {_FORMAT}",
            hint="use the preheat that wrote it, or another --library",
        )
