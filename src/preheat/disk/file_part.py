"""File part: read a range of the bytes of a local file."""

from io import FileIO
from pathlib import Path


class FilePart(FileIO):
    """A reader of the bytes `start` to `stop` (exclusive) of a local file; a Reader of preheat.hubs.hub.

    Raise OSError for a file that cannot be opened or read.
    """

    prompt = True
    round_trip_s = 0.0

    def __init__(self, path: Path | str, start: int, stop: int) -> None:
        super().__init__(path)
        self.seek(start)
        self._left = stop - start

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # a Reader's buffers are memoryviews
        """See Reader."""
        size = super().readinto(buffer[: self._left]) or 0
        self._left -= size
        return size
