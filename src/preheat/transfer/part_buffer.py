"""Part buffer: moves bytes from a reader to a partial: a pipe if the kernel can splice, else memory."""

from preheat.disk.huge_buffer import make_buffer
from preheat.disk.splice import Pipe, make_pipe
from preheat.hubs.hub import Reader
from preheat.library.blobs.partial import Partial
from preheat.library.blobs.ranges import ByteRange, common

# (threads, buffer bytes): large buffers for few threads, small ones for hundreds, to limit memory.
_BUFFERS = ((8, 1 << 20), (32, 512 << 10), (1 << 30, 128 << 10))
# Below this buffer size, reading is cheaper than splicing, and pipe memory is limited per user.
_WORTH_A_PIPE = 1 << 20


class Vessel:
    """A buffer that is filled from a reader and then written to a partial, in turns; for one of `threads` threads."""

    def __init__(self, threads: int) -> None:
        self.size = next(size for most, size in _BUFFERS if threads <= most)
        self._buffer = make_buffer(self.size)
        self._pipe: Pipe | None = make_pipe(self.size) if self.size >= _WORTH_A_PIPE else None

    def fill(self, reader: Reader, most: int, *, whole: bool) -> int:
        """Read up to `most` bytes; return how many, 0 at EOF. `whole`: all of them will be written, without holes."""
        if self._pipe is not None:
            self._pipe.empty()
            if whole and (count := reader.pour(self._pipe, most)):
                return count
        return reader.readinto(self._buffer[:most])

    def leave(self, partial: Partial, at: int, count: int, holes: tuple[ByteRange, ...] = ()) -> None:
        """Write the first `count` bytes to offset `at` of a partial; with `holes`, only the bytes within those ranges.

        Raise NoSpace or LibraryError if the write fails.
        """
        if self._pipe is not None and self._pipe.held:
            partial.write_from(self._pipe, at, count)
        elif holes:
            for start, stop in common([ByteRange(at, at + count)], holes):
                partial.write(start, self._buffer[start - at : stop - at])
        else:
            partial.write(at, self._buffer[:count])

    def close(self) -> None:
        """Free its memory."""
        if self._pipe is not None:
            self._pipe.close()
