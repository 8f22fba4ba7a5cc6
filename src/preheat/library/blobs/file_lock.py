"""File lock: one process at a time for one partial."""

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path


def take(path: Path | str, mode: int = 0o644) -> int | None:
    """Open the file at `path`, made if need be, for this process alone; None while another has it.

    The descriptor is the lock: an flock(2) on the file itself, which ends when it is closed, by whatever end of the
    process. A file beside it would be one more to make and remove for each of thousands, and ext4 searches long for an
    inode among those just removed.
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
            # Whoever had it may have given it another name meanwhile, or none: then it is no partial any more.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116 - thousands of them
                taken, descriptor = descriptor, -1
                return taken
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return None


def _opened(path: Path | str, mode: int) -> int:
    # A symlink is removed, not followed: in a library that a group shares, another user may have put it there.
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
    """Let a partial be written that was sealed, but had no name yet when its process ended; not one that is in use.

    Raise PermissionError if it is another user's.
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
