"""Small files: read the library's small files safely, even if a FIFO or device has replaced one."""

import errno
import os
import stat
from pathlib import Path

from preheat.library.ownership import open_to_read

_MOST = 64 << 20  # bytes; the size of a record with 500,000 files
_STEP = 1 << 20


def read_small(path: Path | str, most: int = _MOST, start: int = 0) -> bytes:
    """Return the content of a regular file from byte `start`, at most `most` bytes; never block on a FIFO or device.

    Raise OSError with the path if it is not a regular file, too large, unreadable, or another user's symlink.
    """
    return read_dated(path, most, start)[0]


def read_dated(path: Path | str, most: int = _MOST, start: int = 0) -> tuple[bytes, os.stat_result]:
    """Return what `read_small` returns, and the stat result of the file that was read."""
    descriptor = open_to_read(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if start:
            os.lseek(descriptor, start, os.SEEK_SET)
        chunks, size = [], 0
        while chunk := os.read(descriptor, _STEP):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)
    return b"".join(chunks), status
