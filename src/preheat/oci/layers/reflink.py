"""Reflink: share the extents of a range with another file, on filesystems that support it."""

import fcntl
import struct

_FICLONERANGE = 0x4020940D  # linux/fs.h: struct file_clone_range


def clone(source: int, start: int, stop: int, target: int, at: int) -> bool:
    """Clone bytes `start` to `stop` of an open file to offset `at` of another. Return False if that is impossible.

    `start`, `at` and `stop` must be multiples of the filesystem's block size, except that `stop` may be the end of the
    source (ioctl_ficlonerange(2)).
    """
    try:
        fcntl.ioctl(target, _FICLONERANGE, struct.pack("qQQQ", source, start, stop - start, at))
    except OSError:
        return False
    return True
