"""Object reader: the bytes of a part of an object, as obstore's stream yields them."""

from collections.abc import Callable, Iterator

from preheat.core.errors import HubUnavailable


class ObjectReader:
    """A Reader of preheat.hubs.hub for `size` bytes of a stream; `to_error` converts obstore's exceptions."""

    prompt = False
    round_trip_s = 0.0

    def __init__(self, chunks: Iterator[bytes], to_error: Callable[[Exception], Exception], size: int) -> None:
        self._chunks = chunks
        self._to_error = to_error
        self._left = size
        self._chunk = memoryview(b"")

    def skip(self, size: int) -> None:
        """Discard bytes. Raise HubUnavailable at EOF."""
        while size:
            if not self._more():
                raise HubUnavailable("the store ended its response early", hint="pull again to resume")
            count = min(size, len(self._chunk))
            self._chunk = self._chunk[count:]
            size -= count

    def readinto(self, buffer: memoryview, /) -> int:
        """See Reader."""
        if not self._left or not len(buffer) or not self._more():
            return 0
        count = min(len(buffer), len(self._chunk), self._left)
        buffer[:count] = self._chunk[:count]
        self._chunk = self._chunk[count:]
        self._left -= count
        return count

    def close(self) -> None:
        """See Reader."""
        self._chunks = iter(())
        self._chunk = memoryview(b"")

    def _more(self) -> bool:
        """Return whether there are bytes, after waiting for them."""
        from obstore.exceptions import BaseError

        while not len(self._chunk):
            try:
                # obstore's own buffer; a memoryview of it copies nothing.
                self._chunk = memoryview(next(self._chunks))
            except StopIteration:
                return False
            except (BaseError, OSError) as error:
                raise self._to_error(error) from error
        return True
