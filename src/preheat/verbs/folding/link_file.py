"""Link file: replace one file by a link to a blob with the same bytes; a kill at any moment loses no byte."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from preheat.core.digest import SHA256, Digest, hasher
from preheat.core.errors import IntegrityError, LibraryError
from preheat.disk.file_hash import feed_all
from preheat.disk.regular_file import why
from preheat.disk.temporary_file import beside
from preheat.library.blobs.lease import is_open_for_writing, lease
from preheat.verbs.folding.fold_journal import FileBefore, kept_xattrs
from preheat.verbs.folding.model_hashes import CHANGED, OPEN, OPEN_FOR_WRITING
from preheat.views.links import REFLINK, is_unsupported, make_link


def replace_by_link(
    path: Path, blob: Path, digest: Digest, ways: Sequence[str], look: os.stat_result, *, certain: bool
) -> str:
    """Replace the file `path` by a link to `blob`, in the first of `ways` that works; return that way.

    `look` is the file's stat result now. Unless it is `certain` that the file has these bytes, they are read first. The
    file is replaced by one rename. Raise IntegrityError if the file is not the one of `look`, has other bytes, or a
    program writes to it; then it is as it was. Raise LibraryError if no way works.
    """
    with contextlib.ExitStack() as closing:
        try:
            path = held_path(path, closing)
            descriptor = os.open(path, OPEN)
            closing.callback(os.close, descriptor)
        except OSError as error:
            raise LibraryError(f"it cannot be read: {why(error)}") from error
        if is_open_for_writing(descriptor):
            raise IntegrityError(OPEN_FOR_WRITING)
        with lease(descriptor) as is_alone:
            if not same_file(os.fstat(descriptor), look):
                raise IntegrityError(CHANGED)
            if not certain:
                _require_bytes(descriptor, digest)
            return _replace(path, blob, ways, look, descriptor, is_alone)


def held_path(path: Path, closing: contextlib.ExitStack) -> Path:
    """Return a path that leads to the file in the folder that `path` has now, until `closing` closes. Raise OSError.

    Whoever may rename that folder, or one that it is in, could otherwise put a symlink to another one in its place.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    closing.callback(os.close, folder)
    held = Path(f"/proc/self/fd/{folder}")
    return held / path.name if held.exists() else path


def inode_of(path: Path) -> int:
    """Return the number of a file's inode; 0 if it is gone."""
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def blocks_of(path: Path, size: int) -> int:
    """Return the bytes on disk of a file with so many bytes: fewer if it is sparse, all if it is gone."""
    try:
        return min(size, path.stat().st_blocks * 512)
    except OSError:
        return size


def is_alone(path: Path, before: FileBefore, names: int) -> bool:
    """Return whether a file has so many names; or more that it had before it was folded."""
    try:
        look = path.lstat()
    except OSError:
        return False
    return look.st_nlink == names or (look.st_nlink > names and look.st_ino == before.inode)


def same_file(now: os.stat_result, look: os.stat_result) -> bool:
    """Return whether a file is the same one, with the same size, times, mode and owner as in `look`."""
    return all(
        getattr(now, name) == getattr(look, name)
        for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode", "st_uid", "st_gid")
    )


def give_look_back(path: Path, before: FileBefore) -> None:
    """Give the file at `path` the look of `before`, and make it durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _give_look(descriptor, before)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_bytes(path: Path, digest: Digest, on_read: Callable[[int], None]) -> None:
    """Raise IntegrityError if a file of the library, or a copy of one, has not these bytes."""
    with open(path, "rb", buffering=0) as file:
        read = hasher(SHA256, 0)
        feed_all(file.fileno(), (read,), on_read)
    if read.hexdigest() != digest.hex:
        raise IntegrityError(f"the library's copy of it is corrupt: it is not {digest}")


def _give_look(descriptor: int, before: FileBefore) -> None:
    """Give an open file the mode, group, extended attributes and times that a file had."""
    now = kept_xattrs(descriptor)
    with contextlib.suppress(OSError):
        for name in now.keys() - before.xattrs.keys():  # a new file gets those that its folder prescribes
            os.removexattr(descriptor, name)
    for name, value in before.xattrs.items():
        with contextlib.suppress(OSError):
            os.setxattr(descriptor, name, bytes.fromhex(value))
    if os.fstat(descriptor).st_gid != before.gid:
        with contextlib.suppress(PermissionError):  # a group that this user has left
            os.fchown(descriptor, -1, before.gid)
    os.fchmod(descriptor, before.mode)
    os.utime(descriptor, ns=(before.atime_ns, before.mtime_ns))


def _require_bytes(descriptor: int, digest: Digest) -> None:
    read = hasher(SHA256, os.fstat(descriptor).st_size)
    feed_all(descriptor, (read,), lambda _: None)
    if read.hexdigest() != digest.hex:
        raise IntegrityError(CHANGED)


def _replace(
    path: Path, blob: Path, ways: Sequence[str], look: os.stat_result, descriptor: int, is_alone: Callable[[], bool]
) -> str:
    aside = beside(path)
    try:
        way = _make(blob, aside, ways, look, descriptor)
        kept = beside(path)
        try:
            os.link(path, kept, follow_symlinks=False)
        except OSError:
            kept = path  # without hard links, a write at this very moment cannot be undone
        try:
            if not same_content(os.fstat(descriptor), look):
                raise IntegrityError(CHANGED)
            aside.replace(path)
            if kept != path and not _is_unwritten(descriptor, look, is_alone):
                kept.replace(path)
                raise IntegrityError(OPEN_FOR_WRITING)
        finally:
            if kept != path:
                kept.unlink(missing_ok=True)
    except OSError as error:
        raise LibraryError(f"it cannot be replaced: {why(error)}") from error
    else:
        return way
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def same_content(now: os.stat_result, look: os.stat_result) -> bool:
    """Return whether a file was not written to since `look`; a new link changes only its ctime."""
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (look.st_ino, look.st_size, look.st_mtime_ns)


def _is_unwritten(descriptor: int, look: os.stat_result, is_alone: Callable[[], bool]) -> bool:
    """Return whether no program has opened the file for writing since the lease; or, without one, has written to it."""
    return (is_alone() or not is_open_for_writing(descriptor)) and same_content(os.fstat(descriptor), look)


def _make(blob: Path, aside: Path, ways: Sequence[str], look: os.stat_result, descriptor: int) -> str:
    """Make a link to the blob at `aside`; return its kind. A reflink gets the look of the file that it replaces."""
    for way in ways:
        try:
            make_link(blob, aside, way, mode=0o600)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if not is_unsupported(error) or way == ways[-1]:
                raise
        else:
            if way == REFLINK:
                _dress(aside, look, kept_xattrs(descriptor))
            return way
    raise AssertionError("no ways were given")


def _dress(aside: Path, look: os.stat_result, xattrs: Mapping[str, str]) -> None:
    descriptor = os.open(aside, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        for name, value in xattrs.items():
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, name, bytes.fromhex(value))
        if os.fstat(descriptor).st_gid != look.st_gid:
            os.fchown(descriptor, -1, look.st_gid)
        os.fchmod(descriptor, look.st_mode & 0o7777)
        os.utime(descriptor, ns=(look.st_atime_ns, look.st_mtime_ns))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
