"""Named by content: write a file that a container reads, under a name that follows from its bytes."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from preheat.disk.temporary_file import write_whole


def keep_by_content(stem: str, suffix: str, body: bytes, mode: int, folders: Sequence[Path]) -> Path:
    """Return the path of a file with these bytes in the first of `folders` that can be written; write it if needed.

    A running container reads its file again: another version must not replace it. Raise OSError if no folder can be
    written.
    """
    name = f"{stem}-{hashlib.sha256(body).hexdigest()[:12]}{suffix}"
    for folder in folders[:-1]:
        with contextlib.suppress(OSError):
            return _kept(body, mode, folder / name)
    return _kept(body, mode, folders[-1] / name)


def _kept(body: bytes, mode: int, at: Path) -> Path:
    try:
        known = at.lstat()
    except FileNotFoundError:
        write_whole(at, body, mode)
        return at
    # In a library that a group shares, another member could change the file after it was compared.
    if not stat.S_ISREG(known.st_mode) or known.st_uid not in (0, os.geteuid()) or at.read_bytes() != body:
        raise OSError(errno.EEXIST, "another file has its name", str(at))
    return at
