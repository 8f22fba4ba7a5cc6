"""Lock: one process at a time for one partial."""

import contextlib
import fcntl
import os
from pathlib import Path


def take(path: Path | str) -> int | None:
    """Open the file at `path`, made if need be, for this process alone; None while another has it.

    The descriptor is the lock: an flock(2) on the file itself, which ends when it is closed, by whatever end of the
    process. A file beside it would be one more to make and remove for each of thousands, and ext4 searches long for an
    inode among those just removed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
