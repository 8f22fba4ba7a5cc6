"""Splice: a pipe through which the kernel moves bytes from a socket to a file; see splice(2).

That is one copy of them instead of two.
"""

import errno
import fcntl
import os

CANNOT = (errno.EINVAL, errno.ENOSYS)
_STEP = 64 << 10


class Pipe:
    """Room for `size` bytes. Not for several threads; what is in it is lost with it.

    Raise OSError where a user may not have so much: see /proc/sys/fs/pipe-max-size and pipe-user-pages-soft.
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
        """Move up to `most` bytes in from a socket or file; return how many, 0 at its end.

        Raise BlockingIOError where a socket has none and does not wait, and OSError with one of `CANNOT` where nothing
        can be spliced from.
        """
        count = os.splice(descriptor, self._in, most)
        self.held += count
        return count

    def put_in(self, data: bytes) -> None:
        """Add bytes that this process does hold: few, or nobody is there to make room for the rest."""
        self.held += os.write(self._in, data)

    def let_out(self, descriptor: int, at: int, count: int) -> None:
        """Write the first `count` bytes it holds to `at` of a file; raise OSError if the disk will not have them."""
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
        """Take up to `most` of the bytes it holds out, for this process after all."""
        data = os.read(self._out, min(most, self.held))
        self.held -= len(data)
        return data

    def empty(self) -> None:
        """Throw away what it holds."""
        while self.held:
            self.read(_STEP)

    def _copy_out(self, descriptor: int, at: int, most: int) -> int:
        """Write as everybody does, to a filesystem that is not written to in any other way."""
        data = memoryview(self.read(min(most, _STEP)))
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], at + written)
        return written

    def close(self) -> None:
        """Give its memory back."""
        os.close(self._out)
        os.close(self._in)


def make_pipe(size: int) -> Pipe | None:
    """Return a pipe, or None where the kernel has no splicing, or this user may have no such pipe."""
    if not hasattr(os, "splice"):
        return None
    try:
        return Pipe(size)
    except OSError:
        return None
