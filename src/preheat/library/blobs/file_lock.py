"""File lock: exclusive access of one process to a partial."""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path

from preheat.disk.temporary_file import create


def take(path: Path | str, mode: int = 0o644) -> int | None:
    """Open or create the file at `path`, and lock it; return the descriptor, or None while another process has it.

    The lock is an flock(2) on the file itself. It ends when the descriptor is closed or the process exits. A separate
    lock file would have to be created and removed for each of thousands of files, and ext4 takes long to allocate an
    inode after many were removed.

    An unlocked file of another user is replaced by a new one, since its owner could change it after it was verified.
    """
    try:
        descriptor = _opened(path, mode)
    except PermissionError:
        if not _make_lockable(path):
            return None
        descriptor = _opened(path, mode)
    try:
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous owner may have renamed or removed it before releasing the lock: then it is no partial.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116 - faster for thousands of files
                if not _is_anothers(descriptor, path):
                    taken, descriptor = descriptor, -1
                    return taken
                os.unlink(path)  # noqa: PTH108 - as above
                return take(path, mode)
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return None


def _opened(path: Path | str, mode: int) -> int:
    # Remove a symlink instead of following it: in a library shared by a group, another user may have created it.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        os.unlink(path)  # noqa: PTH108 - as above
        descriptor = os.open(path, flags, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def _is_anothers(descriptor: int, path: Path | str) -> bool:
    """Return whether an open file belongs to another user."""
    owner = os.fstat(descriptor).st_uid
    if owner == os.geteuid():
        return False
    # On a filesystem that does not store owners, new files do not seem to be this user's either.
    aside, new = create(Path(path))
    try:
        return os.fstat(new).st_uid != owner
    finally:
        os.close(new)
        aside.unlink(missing_ok=True)


def _make_lockable(path: Path | str) -> bool:
    """Make a file that a killed process left behind lockable; return False if a process still uses it.

    A partial that was sealed but not yet renamed is made writable again; one of another user is removed.
    Raise PermissionError if it is not readable.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116 - as above
            return False
        if _is_anothers(descriptor, path):
            os.unlink(path)  # noqa: PTH108 - as above
        else:
            os.fchmod(descriptor, 0o644)
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
    return True
