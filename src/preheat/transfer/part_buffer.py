"""Part buffer: moves bytes from a reader to a partial: a pipe if the kernel can splice, else memory."""

from preheat.disk.huge_buffer import make_buffer
from preheat.disk.splice import Pipe, make_pipe
from preheat.hubs.hub import Reader
from preheat.library.blobs.partial import Partial
from preheat.library.blobs.ranges import ByteRange, common

# Large reads where there are few threads, small ones where hundreds must share the memory.
_BUFFERS = ((8, 1 << 20), (32, 512 << 10), (1 << 30, 128 << 10))
# One read for many small moves costs less than splicing each; and a pipe's memory is dear to those who may have little.
_WORTH_A_PIPE = 1 << 20


class Vessel:
    """It is filled, and what is in it is left somewhere, in turns. For one of `threads` threads, and no other."""

    def __init__(self, threads: int) -> None:
        self.size = next(size for most, size in _BUFFERS if threads <= most)
        self._buffer = make_buffer(self.size)
        self._pipe: Pipe | None = make_pipe(self.size) if self.size >= _WORTH_A_PIPE else None

    def fill(self, reader: Reader, most: int, *, whole: bool) -> int:
        """Take up to `most` bytes in, which are left as a `whole` or in pieces; return how many, 0 at the end."""
        if self._pipe is not None:
            self._pipe.empty()
            if whole and (count := reader.pour(self._pipe, most)):
                return count
        return reader.readinto(self._buffer[:most])

    def leave(self, partial: Partial, at: int, count: int, holes: tuple[ByteRange, ...] = ()) -> None:
        """Write the first `count` bytes to `at` of a partial, if it has `holes` only what goes there. No more is kept.

        Raise NoSpace or LibraryError if the disk will not have them.
        """
        if self._pipe is not None and self._pipe.held:
            partial.write_from(self._pipe, at, count)
        elif holes:
            for start, stop in common([ByteRange(at, at + count)], holes):
                partial.write(start, self._buffer[start - at : stop - at])
        else:
            partial.write(at, self._buffer[:count])

    def close(self) -> None:
        """Give its memory back."""
        if self._pipe is not None:
            self._pipe.close()
