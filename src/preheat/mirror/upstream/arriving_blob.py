"""Arriving blob: a blob that any number of clients read while it is downloaded."""

import io
import itertools
import threading
import time
from bisect import bisect_right
from collections.abc import Generator, Iterable
from pathlib import Path

from preheat.core.errors import HubUnavailable, IntegrityError, PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.library.blobs.ranges import ByteRange, merge
from preheat.mirror.http.messages import BrokenOff

# The end of a file, kept back until the digest fits: without it, no client takes the file for complete.
HELD_BACK = 64 << 10
# Waiting readers are woken at once when they have waited for long, and else no more often than this.
_BREATH_S = 0.01
# What is not verified goes out in pieces of that size: between two of them it may turn out to be wrong.
_PIECE = 1 << 20


class Arrival:
    """See Watcher; readers come and go, in threads of their own, and the fetch goes on without any.

    `ref` and `file` are those of the first who asked; `kept` is where the blob will be. Readers are broken off when
    nothing has come for `silence_s` seconds.
    """

    def __init__(self, ref: Ref, file: File, kept: Path, silence_s: float = 75.0) -> None:
        self.ref = ref
        self.file = file
        self._kept = kept
        self._silence_s = silence_s
        self._path = kept
        self._here: list[ByteRange] = []
        self._age = 0
        self._whole = False
        self._error: PreheatError | None = None
        self._changed = threading.Condition()
        self._told_at = 0.0
        self._turns = 0
        self._readers: dict[int, int | None] = {}
        self._left_at = time.monotonic()  # when the last reader left
        self.stopped = False
        self._numbers = itertools.count()

    # ---- what its fetch tells

    def began(self, path: Path, here: Iterable[ByteRange]) -> None:
        """See Watcher."""
        with self._changed:
            self._path, self._here = path, merge(here)
            self._changed.notify_all()

    def wrote(self, written: ByteRange) -> None:
        """See Watcher."""
        with self._changed:
            _add(self._here, written)
            now = time.monotonic()
            if now - self._told_at >= _BREATH_S:
                self._told_at = now
                self._changed.notify_all()

    def forgot(self, here: Iterable[ByteRange]) -> None:
        """See Watcher. Who has read some of it already may have read what is wrong, and is broken off."""
        with self._changed:
            self._here = merge(here)
            self._age += 1
            self._changed.notify_all()

    def wanted(self) -> int | None:
        """See Watcher. Who waits is served in turns: one who follows the front waits again at once."""
        with self._changed:
            waiting = list(dict.fromkeys(at for at in self._readers.values() if at is not None))
            self._turns += 1
            return waiting[self._turns % len(waiting)] if waiting else None

    def end(self, error: PreheatError | None) -> None:
        """Learn that it is in the library, whole and verified; or, with an error, that it will not be."""
        with self._changed:
            self._whole, self._error = error is None, error
            if error is None:
                self._here = [ByteRange(0, self.file.size)]
            self._changed.notify_all()

    def await_some(self, within_s: float) -> None:
        """Wait until something is here, or that long."""
        with self._changed:
            self._changed.wait_for(lambda: self._here or self._error is not None, within_s)

    # ---- what people ask

    @property
    def done(self) -> int:
        """Bytes that are here."""
        with self._changed:
            return sum(stop - start for start, stop in self._here)

    @property
    def lonely_s(self) -> float:
        """For how many seconds nobody has read it."""
        with self._changed:
            return 0.0 if self._readers else time.monotonic() - self._left_at

    def stop(self) -> None:
        """Have its fetch end; what came is kept, and gone on from when it is asked for again."""
        self.stopped = True

    @property
    def spoilt(self) -> bool:
        """Whether bytes that may have been handed out turned out to be wrong."""
        with self._changed:
            return self._age > 0 or isinstance(self._error, IntegrityError)

    @property
    def clients(self) -> int:
        """How many are reading."""
        with self._changed:
            return len(self._readers)

    # ---- what readers do

    @property
    def verified(self) -> bool:
        """See Arriving."""
        with self._changed:
            return self._whole

    def await_first(self, start: int, stop: int) -> int:
        """Wait until something of an answer could be sent; return the age of the bytes, for `pieces`.

        Raise what ended the fetch, so that it can be said while there is still a status to say it with.
        """
        with self._reading() as number:
            if start < stop:
                self._reach(number, start, stop, self._holds(stop), None)
            with self._changed:
                return self._age

    def pieces(self, start: int, stop: int, age: int) -> Generator[tuple[io.FileIO, int, int]]:
        """Hand out bytes `start` up to `stop` as they come: a file, and the first and last of what to send of it.

        An answer that ends with the file's last byte keeps the file's end back until the digest fits. Raise BrokenOff
        when the rest will not come, or what was handed out before may be wrong.
        """
        try:
            with self._reading() as number:
                at, hold = start, self._holds(stop)
                if at < stop:
                    self._reach(number, at, stop, hold, age)
                with self._open(age) as file:
                    while at < stop:
                        upto = self._reach(number, at, stop, hold, age)
                        yield file, at, upto
                        at = upto
        except PreheatError as error:
            raise BrokenOff(error.message) from error

    def _holds(self, stop: int) -> bool:
        return stop > self.file.size - HELD_BACK

    def _reach(self, number: int, at: int, stop: int, hold: bool, age: int | None) -> int:  # noqa: FBT001 - internal
        """Wait for the byte `at`; say up to where all is here."""
        with self._changed:
            silent_since, had = time.monotonic(), -1
            try:
                while True:
                    if self._error is not None:
                        raise self._error.again()
                    if age not in (None, self._age):
                        raise BrokenOff(f"{self.file.path} turned out to be wrong")
                    limit = self.file.size - HELD_BACK if hold and not self._whole else stop
                    upto = min(_upto(self._here, at), limit, stop if self._whole else at + _PIECE)
                    if upto > at:
                        return upto
                    self._readers[number] = at
                    self._changed.wait(2 * _BREATH_S)
                    now, have = time.monotonic(), sum(part.stop - part.start for part in self._here)
                    silent_since, had = (now, have) if have != had else (silent_since, had)
                    # When all is here its digest is being made, which takes as long as it takes.
                    if now - silent_since > self._silence_s and have < self.file.size:
                        raise HubUnavailable(f"nothing of {self.file.path} has come for {self._silence_s:.0f} seconds")
            finally:
                self._readers[number] = None

    def _open(self, age: int) -> io.FileIO:
        with self._changed:
            path = self._path
        try:
            file = io.FileIO(path)
        except FileNotFoundError:
            try:
                file = io.FileIO(self._kept)  # sealed meanwhile
            except OSError as error:
                raise BrokenOff(f"{self.file.path} has just left this mirror") from error
        with self._changed:
            # What failed has lost its name, which another fetch may have taken by now.
            if self._error is not None or age != self._age:
                file.close()
                raise BrokenOff(f"{self.file.path} turned out to be wrong")
        return file

    def enter(self, number: int) -> None:
        """Count a reader in."""
        with self._changed:
            self._readers[number] = None

    def leave(self, number: int) -> None:
        """Count a reader out."""
        with self._changed:
            del self._readers[number]
            self._left_at = time.monotonic()

    def _reading(self) -> "_Reading":
        return _Reading(self, next(self._numbers))


class _Reading:
    """Counts a reader in, and out."""

    def __init__(self, arrival: Arrival, number: int) -> None:
        self._arrival = arrival
        self._number = number

    def __enter__(self) -> int:
        self._arrival.enter(self._number)
        return self._number

    def __exit__(self, *exception: object) -> None:
        self._arrival.leave(self._number)


def _add(here: list[ByteRange], new: ByteRange) -> None:
    """Add a range to others that are sorted and lie apart, in their place."""
    at = bisect_right(here, new)
    start, stop = new
    first = at
    if first and here[first - 1].stop >= start:
        first -= 1
        start, stop = here[first].start, max(stop, here[first].stop)
    last = at
    while last < len(here) and here[last].start <= stop:
        stop = max(stop, here[last].stop)
        last += 1
    here[first:last] = [ByteRange(start, stop)]


def _upto(here: list[ByteRange], at: int) -> int:
    """Say up to where all is here, from `at` on."""
    place = bisect_right(here, at, key=lambda part: part.start)
    return max(at, here[place - 1].stop) if place else at
