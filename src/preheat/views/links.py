"""Links: put a blob at another path by reflink, hard link or symlink, else by copy."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from preheat.core.errors import LibraryError, UsageError
from preheat.disk.temporary_file import beside, lock, put, tidy

REFLINK, HARDLINK, SYMLINK, COPY = "reflink", "hardlink", "symlink", "copy"
# What `--link` takes, and the ways that each tries in turn.
WAYS = {
    "auto": (REFLINK, HARDLINK, SYMLINK, COPY),
    REFLINK: (REFLINK,),
    HARDLINK: (HARDLINK,),
    SYMLINK: (SYMLINK,),
    COPY: (COPY,),
}
AUTO = WAYS["auto"]
# For an app that is kept from writing the library's folder: a hard link would lead it around that.
SHIELDED = (REFLINK, SYMLINK, COPY)
_FICLONE = 0x40049409  # linux/fs.h: share the source's extents, copy-on-write
# What filesystems say to a kind of link that they do not have: another way may work.
_NOT_THIS_WAY = frozenset(
    (
        errno.EXDEV,
        errno.EPERM,
        errno.EOPNOTSUPP,
        errno.EMLINK,
        errno.EINVAL,
        errno.ENOTTY,
        errno.ENOSYS,
        errno.EBADF,
    )
)
# How exactly times are kept: to 100 ns by some filesystems; by FAT and its kin to 10 ms, or even seconds.
_FINE_NS, _COARSE_NS, _COARSEST_NS = 1_000, 10_000_000, 2_000_000_000


def read_ways(word: str) -> tuple[str, ...]:
    """Say which ways to link a word of `--link` means, the first that works counting; raise UsageError for none."""
    ways = WAYS.get(word)
    if ways is None:
        raise UsageError(f"{word!r} is not a way to link", hint=", ".join(WAYS))
    return ways


def link(blob: Path, at: Path, ways: Sequence[str] = AUTO) -> str | None:
    """Put `blob` at `at`, whose folder exists, in the first of `ways` that works; say which, None if it was so before.

    Whatever else lies there is replaced in one step. A copy or reflink is a file of its own, which its owner may
    write; it counts as the blob's while size and time of change are the blob's. Raise LibraryError when no way works.
    """
    if stands(blob, at, ways):
        return None
    for way in ways:
        try:
            put(at, partial(_put, blob, way=way))
        except OSError as error:
            if error.errno not in _NOT_THIS_WAY or way == ways[-1]:
                raise LibraryError(
                    f"{at} cannot be a {' or '.join(ways)} of {blob}: {os.strerror(error.errno or 0).lower()}",
                    hint="try --link copy, or a place on the library's filesystem",
                ) from error
        else:
            return way
    raise AssertionError("no ways were given")


def stands(blob: Path, at: Path, ways: Sequence[str]) -> bool:
    """Whether what lies at `at` is `blob` in one of `ways` already. Costs two or three stat(2)."""
    return not _there(blob, at).isdisjoint(ways)


def trial(blob: Path, folder: Path, ways: Sequence[str] = AUTO) -> str:
    """Say which of `ways` works in `folder`, which is as it was afterwards. Raise OSError when none does."""
    tidy(folder / "preheat")
    aside = beside(folder / "preheat")
    try:
        for way in ways[:-1]:
            with suppress(OSError):
                _put(blob, aside, way)
                return way
            aside.unlink(missing_ok=True)
        _put(blob, aside, ways[-1])
        return ways[-1]
    finally:
        aside.unlink(missing_ok=True)


def _there(blob: Path, at: Path) -> set[str]:
    """Say which links what is at `at` could be; a reflink cannot be told from a copy."""
    try:
        theirs, ours = at.lstat(), blob.stat()
        if stat.S_ISLNK(theirs.st_mode):
            return {SYMLINK} if at.samefile(blob) else set()
    except OSError:
        return set()
    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
        return {HARDLINK}
    apart_ns = abs(theirs.st_mtime_ns - ours.st_mtime_ns)
    same_time = apart_ns < _FINE_NS or (theirs.st_mtime_ns % _COARSE_NS == 0 and apart_ns < _COARSEST_NS)
    alike = theirs.st_size == ours.st_size and same_time
    return {REFLINK, COPY} if alike and stat.S_ISREG(theirs.st_mode) else set()


def _put(blob: Path, at: Path, way: str) -> None:
    match way:
        case "reflink":
            with open(blob, "rb") as source, open(at, "xb") as target:
                lock(target.fileno())
                fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        case "hardlink":
            os.link(blob, at)
        case "symlink":
            at.symlink_to(blob.absolute())
        case _:
            with open(at, "xb") as target:
                lock(target.fileno())
                shutil.copyfile(blob, at)
    if way in (REFLINK, COPY):
        times = blob.stat()
        os.utime(at, ns=(times.st_atime_ns, times.st_mtime_ns))
