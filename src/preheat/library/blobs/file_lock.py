"""File lock: exclusive access of one process to a partial."""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path


def take(path: Path | str, mode: int = 0o644) -> int | None:
    """Open or create the file at `path`, and lock it; return the descriptor, or None while another process has it.

    The lock is an flock(2) on the file itself. It ends when the descriptor is closed or the process exits. A separate
    lock file would have to be created and removed for each of thousands of files, and ext4 takes long to allocate an
    inode after many were removed.
    """
    try:
        descriptor = _opened(path, mode)
    except PermissionError:
        if not _writable_again(path):
            return None
        descriptor = _opened(path, mode)
    try:
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous owner may have renamed or removed it before releasing the lock: then it is no partial.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116 - faster for thousands of files
                taken, descriptor = descriptor, -1
                return taken
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


def _writable_again(path: Path | str) -> bool:
    """Make a partial writable that was sealed but not yet renamed when its process ended; False if it is in use.

    Raise PermissionError if it belongs to another user.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116 - as above
            return False
        os.fchmod(descriptor, 0o644)
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(descriptor)
    return True
