"""Regular file: open and read files that users name, without waiting for a FIFO or reading a device."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST = 16 << 20


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file, perhaps through a symlink, to read it. Raise OSError for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return open(descriptor, "rb")


def read_regular(path: Path | str, most: int = LARGEST) -> bytes:
    """Return the content of a regular file. Raise OSError for anything else, and for more than `most` bytes."""
    with open_regular(path) as file:
        body = file.read(most + 1)
    if len(body) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return body


def open_to_write(path: Path | str, *, append: bool = False) -> BinaryIO:
    """Open a file to write it, unbuffered; it is created if it does not exist.

    A pipe must have a reader, and does not block: bytes that do not fit into it are lost. Raise OSError for a folder,
    a disk, or a pipe that no process reads.
    """
    kind = os.O_APPEND if append else os.O_TRUNC
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | kind, 0o666)
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file, a pipe or a terminal", str(path))
    return open(descriptor, "wb", buffering=0)


def why(error: OSError) -> str:
    """Return the reason of an error in words, as in `permission denied`."""
    if error.errno == errno.ENXIO:
        return "no process reads this pipe"
    return (error.strerror or str(error)).lower()
