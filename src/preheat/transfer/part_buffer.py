"""Part buffer: moves bytes from a reader to a partial, through memory."""

from preheat.disk.huge_buffer import make_buffer
from preheat.hubs.hub import Reader
from preheat.library.blobs.partial import Partial
from preheat.library.blobs.ranges import ByteRange, common

# (threads, buffer bytes): large buffers for few threads, small ones for hundreds, to limit memory.
_BUFFERS = ((8, 1 << 20), (32, 512 << 10), (1 << 30, 128 << 10))


class PartBuffer:
    """The buffer of one thread: it is filled from a reader, written to a partial, filled again, and so on.

    `threads`: the number of threads; with more threads, each buffer is smaller.
    """

    def __init__(self, threads: int) -> None:
        self.size = next(size for most, size in _BUFFERS if threads <= most)
        self._buffer = make_buffer(self.size)

    def fill(self, reader: Reader, most: int) -> int:
        """Read up to `most` bytes; return the number of bytes read, 0 at EOF."""
        return reader.readinto(self._buffer[:most])

    def write(self, partial: Partial, at: int, count: int, holes: tuple[ByteRange, ...] = ()) -> None:
        """Write the first `count` bytes to offset `at` of a partial. If there are `holes`, write only these ranges.

        Raise NoSpace or LibraryError if the write fails.
        """
        for start, stop in common([ByteRange(at, at + count)], holes) if holes else ((at, at + count),):
            partial.write(start, self._buffer[start - at : stop - at])
