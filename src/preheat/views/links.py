"""Links: put a blob's bytes at another path without a second copy, where the filesystem lets us."""

import errno
import fcntl
import os
import shutil
from pathlib import Path

from preheat.errors import LibraryError, UsageError

REFLINK, HARDLINK, SYMLINK, COPY = "reflink", "hardlink", "symlink", "copy"
AUTO = "auto"
_FICLONE = 0x40049409  # linux/fs.h: share the source's extents, copy-on-write


def link(blob: Path, at: Path, mode: str = AUTO) -> str:
    """Put `blob` at `at`, whose folder exists, and say how.

    `auto` takes the first that works of reflink, hard link, symlink; `copy` is only done when asked for. What is
    there already and is the same file stays; anything else is replaced in one step. Raise LibraryError when the
    mode does not work here.
    """
    match mode:
        case "auto":
            modes = [REFLINK, HARDLINK, SYMLINK]
        case "reflink" | "hardlink" | "symlink" | "copy":
            modes = [mode]
        case _:
            raise UsageError(f"{mode!r} is not a way to link", hint="auto, reflink, hardlink, symlink or copy")
    if _same(blob, at):
        return HARDLINK if not at.is_symlink() else SYMLINK
    aside = at.with_name(f".{at.name[:200]}.{os.getpid()}.new")
    reason: OSError | None = None
    for one in modes:
        try:
            _put(blob, aside, one)
            aside.replace(at)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                reason = error
                break
            reason = reason or error
        else:
            return one
    assert reason is not None
    raise LibraryError(
        f"{at} cannot be a {' or '.join(modes)} of {blob}: {os.strerror(reason.errno or 0).lower()}",
        hint="try --link copy, or a place on the library's filesystem",
    ) from reason


def _same(blob: Path, at: Path) -> bool:
    try:
        return at.samefile(blob)
    except OSError:
        return False


def _put(blob: Path, at: Path, mode: str) -> None:
    match mode:
        case "reflink":
            with open(blob, "rb") as source, open(at, "wb") as target:
                fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        case "hardlink":
            os.link(blob, at)
        case "symlink":
            at.symlink_to(blob.absolute())
        case _:
            shutil.copyfile(blob, at)
