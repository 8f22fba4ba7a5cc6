"""Disk errors: convert an OSError to an error of the library, with its path."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from preheat.core.errors import LibraryError, NoSpace


@contextlib.contextmanager
def disk(path: Path | str) -> Iterator[None]:
    """Convert an OSError raised in the block to NoSpace or LibraryError about `path`."""
    try:
        yield
    except OSError as error:
        raise disk_trouble(error, path) from error


def disk_trouble(error: OSError, path: Path | str) -> LibraryError:
    """Convert an OSError to NoSpace or LibraryError about the path in the error, or else `path`."""
    named = error.filename2 or error.filename
    at = os.fsdecode(named) if isinstance(named, str | bytes) else path
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"no space left for {at}", hint="free some space, or choose another folder with --library")
    why = (error.strerror or os.strerror(error.errno or 0)).lower()
    return LibraryError(f"{at}: {why}", hint="check the library's disk and owner")
