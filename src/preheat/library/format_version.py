"""Format version: read and write the library's `format` file; see docs/library-format.md."""

import errno
from pathlib import Path

from preheat.core.errors import LibraryError
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.small_files import read_small

_FORMAT = "1"


def write_format(root: Path) -> None:
    """Write the `format` file of a library. Raise OSError."""
    write_whole(root / "format", f"{_FORMAT}\n".encode())


def require_known_format(root: Path) -> None:
    """Raise LibraryError if the library at `root` has an unsupported format; do nothing if there is none."""
    try:
        found = read_small(root / "format").decode("ascii", "replace").strip()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return
        raise disk_trouble(error, root) from error
    if found != _FORMAT:
        raise LibraryError(
            f"{root} has library format {found[:20]!r}, but this version of preheat supports only format {_FORMAT}",
            hint="use the preheat version that wrote it, or choose another folder with --library",
        )
