"""Format version: read and write the library's `format` file; see docs/library-format.md."""

import errno
import os
from pathlib import Path
from shlex import quote

from preheat.core.errors import LibraryError, UsageError
from preheat.core.units import say_some
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.ownership import FOLDERS
from preheat.library.small_files import read_small

_FORMAT = "1"
_OWN = frozenset(folder.partition("/")[0] for folder in FOLDERS)
# Names that may exist before the first pull, such as that of the guard of a compose file.
_BEGINNINGS = (".format.", ".guard-", "guard-", "proof-", "trace-")


def write_format(root: Path) -> None:
    """Write the `format` file of a library. Raise OSError."""
    write_whole(root / "format", f"{_FORMAT}\n".encode())


def require_known_format(root: Path) -> None:
    """Raise LibraryError if the library at `root` has an unsupported format, or is a folder with other files.

    Do nothing if there is none.
    """
    try:
        found = read_small(root / "format").decode("ascii", "replace").strip()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            _require_no_other_files(root)
            return
        raise disk_trouble(error, root) from error
    if found != _FORMAT:
        raise LibraryError(
            f"{root} has library format {found[:20]!r}, but this version of preheat supports only format {_FORMAT}",
            hint="use the preheat version that wrote it, or choose another folder with --library",
        )


def _require_no_other_files(root: Path) -> None:
    """Raise UsageError for a file, and for a folder with entries that no library has, among which its own would be."""
    try:
        others = sorted(entry.name for entry in os.scandir(root) if not _belongs(entry.name))
    except NotADirectoryError as error:
        raise UsageError(f"{root} is a file, not a folder", hint="choose a folder with --library") from error
    except OSError:
        return
    if others:
        raise UsageError(
            f"{root} is not a library: it has {say_some(others)}",
            hint=f"--library {quote(str(root / 'preheat'))}, or an empty folder",
        )


def _belongs(name: str) -> bool:
    # A filesystem's own folders may be at its root, where a library may be mounted.
    return name in _OWN or name.startswith(_BEGINNINGS) or name in ("lost+found", ".snapshot", ".snapshots")
