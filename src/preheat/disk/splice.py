"""Splice: move bytes from a socket to a file inside the kernel, through a pipe; see splice(2).

This copies each byte once instead of twice.
"""

import errno
import fcntl
import os

CANNOT = (errno.EINVAL, errno.ENOSYS)
_STEP = 64 << 10


class Pipe:
    """A pipe with a capacity of `size` bytes. Not thread-safe; closing it discards its content.

    Raises OSError if the user's pipe limits are lower: /proc/sys/fs/pipe-max-size and pipe-user-pages-soft.
    """

    def __init__(self, size: int) -> None:
        self._out, self._in = os.pipe()
        self.held = 0
        try:
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            self.close()
            raise

    def take_in(self, descriptor: int, most: int) -> int:
        """Move up to `most` bytes from a socket or file into the pipe; return the number of bytes, 0 at EOF.

        Raise BlockingIOError if a non-blocking socket has no data, and OSError with an errno in `CANNOT` if the source
        does not support splice.
        """
        count = os.splice(descriptor, self._in, most)
        self.held += count
        return count

    def put_in(self, data: bytes) -> None:
        """Write `data` into the pipe. It must fit: with no concurrent reader, a full pipe blocks forever."""
        self.held += os.write(self._in, data)

    def let_out(self, descriptor: int, at: int, count: int) -> None:
        """Write the first `count` bytes of the pipe to a file at offset `at`; raise OSError if the write fails."""
        stop = at + count
        while at < stop:
            try:
                moved = os.splice(self._out, descriptor, stop - at, offset_dst=at)
            except OSError as error:
                if error.errno not in CANNOT:
                    raise
                moved = self._copy_out(descriptor, at, stop - at)
            else:
                self.held -= moved
            at += moved

    def read(self, most: int) -> bytes:
        """Read up to `most` bytes from the pipe into this process."""
        data = os.read(self._out, min(most, self.held))
        self.held -= len(data)
        return data

    def empty(self) -> None:
        """Discard the pipe's content."""
        while self.held:
            self.read(_STEP)

    def _copy_out(self, descriptor: int, at: int, most: int) -> int:
        """Write with read(2) and pwrite(2), for filesystems that do not support splice."""
        data = memoryview(self.read(min(most, _STEP)))
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], at + written)
        return written

    def close(self) -> None:
        """Close both ends and free the pipe's buffer."""
        os.close(self._out)
        os.close(self._in)


def make_pipe(size: int) -> Pipe | None:
    """Return a pipe, or None if splice is not supported or the user's pipe limits are too low."""
    if not hasattr(os, "splice"):
        return None
    try:
        return Pipe(size)
    except OSError:
        return None
