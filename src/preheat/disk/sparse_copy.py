"""Sparse copy: copy a file whose holes stay holes."""

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from preheat.disk.temporary_file import lock


def copy_sparse(source: Path, to: Path) -> None:
    """Copy a file to the new file `to`, which only this user can read; it is locked meanwhile. Raise OSError."""
    private = partial(os.open, mode=0o600)
    with open(source, "rb", buffering=0) as old, open(to, "xb", buffering=0, opener=private) as new:
        lock(new.fileno())
        size = os.fstat(old.fileno()).st_size
        for start, stop in _extents(old.fileno(), size):
            at = start
            new.seek(start)
            while at < stop:
                sent = os.sendfile(new.fileno(), old.fileno(), at, stop - at)
                if not sent:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(source))
                at += sent
        os.ftruncate(new.fileno(), size)


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each part of a file that is not a hole."""
    stop = 0
    while stop < size:
        try:
            start = os.lseek(descriptor, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole follows
                return
            raise
        stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, stop
