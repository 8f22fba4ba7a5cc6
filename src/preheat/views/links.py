"""Links: put a blob at another path by reflink, hard link or symlink, else by copy."""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from preheat.core.errors import LibraryError, UsageError
from preheat.disk.filesystem import FATS, filesystem_of
from preheat.disk.free_space import existing
from preheat.disk.regular_file import why
from preheat.disk.temporary_file import beside, lock, put, tidy

# Called with the number of bytes of each step of a copy.
OnCopied = Callable[[int], None]
REFLINK, HARDLINK, SYMLINK, COPY = "reflink", "hardlink", "symlink", "copy"
# The values of `--link`, each with the ways to try in order.
WAYS = {
    "auto": (REFLINK, HARDLINK, SYMLINK, COPY),
    REFLINK: (REFLINK,),
    HARDLINK: (HARDLINK,),
    SYMLINK: (SYMLINK,),
    COPY: (COPY,),
}
AUTO = WAYS["auto"]
# The values of `link` in a recipe. A reflink is a separate file, as a copy is, and costs no space.
BORNE = {"symlink": (SYMLINK,), "hardlink": (REFLINK, HARDLINK), "copy": (REFLINK, COPY)}
# For an app that must not write to the library: a hard link would let it change a blob.
SHIELDED = (REFLINK, SYMLINK, COPY)
_FICLONE = 0x40049409  # linux/fs.h: share the source's extents, copy-on-write
# Errors of filesystems that do not support a kind of link; another way may work.
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
# Errors of files that sendfile(2) cannot read or write.
_NOT_BY_SENDFILE = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP))
_STEP = 16 << 20  # bytes to copy before progress is reported
_REFLINKING = frozenset(("bcachefs", "btrfs", "xfs"))
# Resolution of timestamps: 100 ns on some filesystems; on FAT and similar ones 10 ms, or even 2 s.
_FINE_NS, _COARSE_NS, _COARSEST_NS = 1_000, 10_000_000, 2_000_000_000


def silent(size: int) -> None:
    """Ignore the progress of a copy."""


def read_ways(value: str) -> tuple[str, ...]:
    """Return the ways that a `--link` value stands for, in the order to try them; raise UsageError if it is unknown."""
    ways = WAYS.get(value)
    if ways is None:
        raise UsageError(f"{value!r} is not a way to link", hint=", ".join(WAYS))
    return ways


def link(blob: Path | str, at: Path, ways: Sequence[str] = AUTO, on_copied: OnCopied = silent) -> str | None:
    """Link `blob` at `at` in the first of `ways` that works; return that way, or None if it was linked already.

    The folder of `at` must exist. Any other file at `at` is replaced atomically. A copy or reflink is a separate,
    writable file; while it has the blob's size and mtime, it counts as linked. `on_copied` is called with the bytes of
    each step of a copy. Raise LibraryError if no way works.
    """
    if stands(blob, at, ways):
        return None
    for way in ways:
        try:
            _place(blob, at, way, on_copied)
        except OSError as error:
            if error.errno not in _NOT_THIS_WAY or way == ways[-1]:
                raise LibraryError(
                    f"{at} cannot be a {' or '.join(ways)} of {blob}: {why(error)}",
                    hint="try --link copy (or link = in the recipe), or a place on the library's filesystem",
                ) from error
        else:
            return way
    raise AssertionError("no ways were given")


def likely_way(root: Path, folder: Path, ways: Sequence[str] = AUTO) -> str:
    """Return the first of `ways` that will probably work in `folder` for blobs below `root`; nothing is tried.

    It depends on the types of the filesystems only: `link` may find that one does not support it after all.
    """
    possible = possible_ways(root, folder)
    return next((way for way in ways if way in possible), ways[-1])


def possible_ways(root: Path, folder: Path) -> frozenset[str]:
    """Return the ways that will probably work in `folder` for blobs below `root`, by the types of the filesystems."""
    kind, alone = filesystem_of(folder), existing(root).stat().st_dev == existing(folder).stat().st_dev
    possible = {COPY} if kind in FATS else {COPY, SYMLINK, HARDLINK} if alone else {COPY, SYMLINK}
    return frozenset(possible | ({REFLINK} if alone and kind in _REFLINKING else set()))


def require_possible(root: Path, folder: Path, ways: Sequence[str]) -> None:
    """Raise LibraryError if `folder` certainly has none of `ways` for blobs below `root`; nothing is tried."""
    kind, alone = filesystem_of(folder), existing(root).stat().st_dev == existing(folder).stat().st_dev
    impossible = set()
    if not alone or kind in FATS:
        impossible.add(HARDLINK)
    if kind in FATS:
        impossible.add(SYMLINK)
    if kind not in _REFLINKING:  # where it is, subvolumes may share extents although they look like two filesystems
        impossible.add(REFLINK)
    if impossible.issuperset(ways):
        where = f"which is {kind}" if kind in FATS else "which is on another filesystem"
        raise LibraryError(
            f"the app requires files that are a {' or '.join(ways)} of the library's, but {folder}, {where}, has none",
            hint='--link copy, link = "copy" in the recipe, or a library on that filesystem: --library DIR',
        )


def is_unsupported(error: OSError) -> bool:
    """Return whether an error means that a filesystem does not support a kind of link; another way may work."""
    return error.errno in _NOT_THIS_WAY


def stands(blob: Path | str, at: Path, ways: Sequence[str]) -> bool:
    """Return whether `blob` is linked at `at` in one of `ways` already. Costs two or three stat(2) calls."""
    return not _possible_ways(blob, at).isdisjoint(ways)


def trial(blob: Path, folder: Path, ways: Sequence[str] = AUTO) -> str:
    """Return the first of `ways` that works in `folder`, leaving no file behind. Raise OSError if none does."""
    tidy(folder / "preheat")
    aside = beside(folder / "preheat")
    try:
        for way in ways[:-1]:
            with suppress(OSError):
                make_link(blob, aside, way)
                return way
            aside.unlink(missing_ok=True)
        make_link(blob, aside, ways[-1])
        return ways[-1]
    finally:
        aside.unlink(missing_ok=True)


def _possible_ways(blob: Path | str, at: Path) -> set[str]:
    """Return the kinds of link that the file at `at` may be; a reflink cannot be told from a copy."""
    try:
        theirs = os.lstat(at)
        if stat.S_ISLNK(theirs.st_mode):
            leads = os.readlink(at) == str(blob) or os.path.samefile(at, blob)  # noqa: PTH115, PTH121 - as below
            return {SYMLINK} if leads else set()
        ours = os.stat(blob)  # noqa: PTH116 - faster than Path's
    except OSError:
        return set()
    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
        return {HARDLINK}
    apart_ns = abs(theirs.st_mtime_ns - ours.st_mtime_ns)
    same_time = apart_ns < _FINE_NS or (theirs.st_mtime_ns % _COARSE_NS == 0 and apart_ns < _COARSEST_NS)
    alike = theirs.st_size == ours.st_size and same_time
    return {REFLINK, COPY} if alike and stat.S_ISREG(theirs.st_mode) else set()


def _copy(blob: Path | str, target: BinaryIO, on_copied: OnCopied) -> None:
    """Copy a blob in the kernel, in steps that can be shown, and ended by Ctrl-C."""
    with open(blob, "rb") as source:
        at = 0
        try:
            while step := os.sendfile(target.fileno(), source.fileno(), at, _STEP):
                at += step
                on_copied(step)
        except OSError as error:
            if at or error.errno not in _NOT_BY_SENDFILE:
                raise
            while chunk := source.read(_STEP):
                target.write(chunk)
                on_copied(len(chunk))


def _place(blob: Path | str, at: Path, way: str, on_copied: OnCopied) -> None:
    if way in (HARDLINK, SYMLINK):
        # A new name appears at once: only to replace another file does it need a temporary one.
        with suppress(FileExistsError):
            make_link(blob, at, way)
            return
    put(at, partial(make_link, blob, way=way, on_copied=on_copied))


def make_link(blob: Path | str, at: Path, way: str, on_copied: OnCopied = silent, mode: int = 0o666) -> None:
    """Make the new file `at` a link to `blob` in one way. Raise OSError; see `is_unsupported`.

    A reflink or copy has the `mode`, less the umask.
    """
    match way:
        case "reflink":
            with open(blob, "rb") as source, open(at, "xb", opener=partial(os.open, mode=mode)) as target:
                lock(target.fileno())
                fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        case "hardlink":
            os.link(blob, at)
        case "symlink":
            at.symlink_to(blob if os.path.isabs(blob) else Path(blob).absolute())  # noqa: PTH117 - as above
        case _:
            with open(at, "xb", opener=partial(os.open, mode=mode)) as target:
                lock(target.fileno())
                _copy(blob, target, on_copied)
    if way in (REFLINK, COPY):
        times = os.stat(blob)  # noqa: PTH116 - as above
        os.utime(at, ns=(times.st_atime_ns, times.st_mtime_ns))
