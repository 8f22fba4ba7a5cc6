"""Reflink: share a range of another file's extents, where the filesystem can."""

import fcntl
import struct

_FICLONERANGE = 0x4020940D  # linux/fs.h: struct file_clone_range


def clone(source: int, start: int, stop: int, target: int, at: int) -> bool:
    """Put bytes of an open file at `at` of another without writing them; whether that was possible.

    `start` and `at` are multiples of the filesystem's block size, and so is `stop`, unless it is the source's end. See
    ioctl_ficlonerange(2).
    """
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("qQQQ", source, start, stop - start, at))
    except OSError:
        return False
    return True
