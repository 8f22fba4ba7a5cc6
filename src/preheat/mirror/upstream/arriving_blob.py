"""Arriving blob: a blob that any number of clients read while it is downloaded."""

import io
import itertools
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from preheat.core.errors import HubUnavailable, IntegrityError, PreheatError
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.library.blobs.ranges import ByteRange, merge
from preheat.mirror.http.messages import BrokenOff
from preheat.net.fair_share import greediest

# Bytes at a file's end that are sent only once the digest matches: without them, a client sees the file as incomplete.
HELD_BACK = 64 << 10
# After this many seconds without a reader, a download may be stopped to make room for another one.
LONELY_S = 2.0
# Wake waiting readers at most this often; they look by themselves after the longer time.
_BREATH_S, _GLANCE_S = 0.01, 0.1
# Unverified bytes are sent in pieces of this size: between two pieces, the download may turn out to be wrong.
_PIECE = 1 << 20


class Arrival:
    """Track one download (see Watcher) and its readers, each in its own thread; it continues without readers.

    `ref`, `file` and `client` come from the first request; `kept` is the blob's final path. A reader's response is
    aborted when no bytes have arrived for `silence_s` seconds.
    """

    def __init__(self, ref: Ref, file: File, kept: Path, silence_s: float = 75.0, client: str = "") -> None:
        self.ref = ref
        self.client = client
        self.file = file
        self._kept = kept
        self._silence_s = silence_s
        self._path = kept
        self._here: list[ByteRange] = []
        self._age = 0
        self._whole = False
        self._error: PreheatError | None = None
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._wakers: dict[int, threading.Condition] = {}  # of each reader: most wait for bytes that are not next
        self._told_at = 0.0
        self._turns = 0
        self._readers: dict[int, int | None] = {}
        self._left_at = time.monotonic()  # when the last reader left
        self.stopped = False
        self._numbers = itertools.count()

    # ---- called by the download

    def began(self, path: Path, here: Iterable[ByteRange]) -> None:
        """See Watcher."""
        with self._changed:
            self._path, self._here = path, merge(here)
            self._wake_all()

    def wrote(self, written: ByteRange) -> None:
        """See Watcher."""
        with self._changed:
            _add(self._here, written)
            now = time.monotonic()
            if now - self._told_at >= _BREATH_S:
                self._told_at = now
                self._changed.notify_all()
                for number, at in self._readers.items():
                    if at is not None and _upto(self._here, at) > at:
                        self._wakers[number].notify()

    def forgot(self, here: Iterable[ByteRange]) -> None:
        """See Watcher. Abort all readers: the bytes that they have sent may be wrong."""
        with self._changed:
            self._here = merge(here)
            self._age += 1
            self._wake_all()

    def wanted(self) -> int | None:
        """See Watcher. Rotate among the waiting readers, so that none of them starves the others."""
        with self._changed:
            waiting = list(dict.fromkeys(at for at in self._readers.values() if at is not None))
            self._turns += 1
            return waiting[self._turns % len(waiting)] if waiting else None

    def end(self, error: PreheatError | None) -> None:
        """Record that the file is complete, verified and in the library, or the error that ended the download."""
        with self._changed:
            self._whole, self._error = error is None, error
            if error is None:
                self._here = [ByteRange(0, self.file.size)]
            self._wake_all()

    def await_some(self, within_s: float) -> None:
        """Wait until the first bytes have arrived, at most `within_s` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._here or self._error is not None, within_s)

    def _wake_all(self) -> None:
        self._changed.notify_all()
        for waker in self._wakers.values():
            waker.notify()

    # ---- state

    @property
    def done(self) -> int:
        """Bytes downloaded so far."""
        with self._changed:
            return sum(stop - start for start, stop in self._here)

    @property
    def lonely_s(self) -> float:
        """Seconds since the last reader left; 0 while there are readers."""
        with self._changed:
            return 0.0 if self._readers else time.monotonic() - self._left_at

    def stop(self) -> None:
        """Ask the download to stop; the bytes so far are stored, and a later request resumes it."""
        self.stopped = True

    @property
    def spoilt(self) -> bool:
        """Whether bytes that may have been sent to a client turned out to be wrong."""
        with self._changed:
            return self._age > 0 or isinstance(self._error, IntegrityError)

    @property
    def clients(self) -> int:
        """Number of readers."""
        with self._changed:
            return len(self._readers)

    # ---- called by readers

    @property
    def verified(self) -> bool:
        """See Arriving."""
        with self._changed:
            return self._whole

    def await_first(self, start: int, stop: int) -> int:
        """Wait until part of bytes `start` to `stop` can be sent; return the `age` to pass to `pieces`.

        The age changes whenever bytes of the download turn out to be wrong: earlier ages are then invalid.

        Raise the error that ended the download, while the response can still have an error status.
        """
        with self.reading() as number:
            if start < stop:
                self._reach(number, start, stop, self._holds(stop), None)
            with self._changed:
                return self._age

    def pieces(self, start: int, stop: int, age: int) -> Generator[tuple[io.FileIO, int, int]]:
        """Yield bytes `start` to `stop` as they arrive: an open file, and the start and stop offsets to send from it.

        A range that reaches the file's last 64 KiB gets them only once the digest matches. Raise BrokenOff if the rest
        cannot be sent, or if bytes that were yielded before may be wrong.
        """
        try:
            with self.reading() as number:
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
        """Wait for the byte `at`; return the end of the contiguous bytes from there."""
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
                    self._wakers[number].wait(_GLANCE_S)
                    now, have = time.monotonic(), sum(part.stop - part.start for part in self._here)
                    silent_since, had = (now, have) if have != had else (silent_since, had)
                    # Once all bytes have arrived, the digest is computed, which has no time limit.
                    if now - silent_since > self._silence_s and have < self.file.size:
                        raise HubUnavailable(
                            f"no bytes of {self.file.path} have arrived for {self._silence_s:.0f} seconds"
                        )
            finally:
                self._readers[number] = None

    def _open(self, age: int) -> io.FileIO:
        with self._changed:
            path = self._path
        try:
            file = io.FileIO(path)
        except FileNotFoundError:
            try:
                file = io.FileIO(self._kept)  # sealed since
            except OSError as error:
                raise BrokenOff(f"{self.file.path} has just been removed from this mirror") from error
        with self._changed:
            # A failed download's name may belong to another download by now.
            if self._error is not None or age != self._age:
                file.close()
                raise BrokenOff(f"{self.file.path} turned out to be wrong")
        return file

    def enter(self, number: int) -> None:
        """Add a reader."""
        with self._changed:
            self._readers[number] = None
            self._wakers[number] = threading.Condition(self._lock)

    def leave(self, number: int) -> None:
        """Remove a reader."""
        with self._changed:
            del self._readers[number], self._wakers[number]
            self._left_at = time.monotonic()

    def reading(self) -> "_Reading":
        """Count one more reader, until the end of the block."""
        return _Reading(self, next(self._numbers))


def dispensable(arrivals: Sequence[Arrival], newcomer: str) -> Arrival | None:
    """Return the download to stop for a client: the longest one without readers, else the last of the greediest client.

    A client that has at least two more than the newcomer loses one that no other client reads.
    """
    lonely = [one for one in arrivals if one.lonely_s >= LONELY_S]
    if lonely:
        return max(lonely, key=lambda one: one.lonely_s)
    client = greediest(Counter(one.client for one in arrivals), newcomer)
    return next((one for one in reversed(arrivals) if one.client == client and one.clients <= 1), None)


class _Reading:
    """Add a reader, and remove it at the end of the block."""

    def __init__(self, arrival: Arrival, number: int) -> None:
        self._arrival = arrival
        self._number = number

    def __enter__(self) -> int:
        self._arrival.enter(self._number)
        return self._number

    def __exit__(self, *exception: object) -> None:
        self._arrival.leave(self._number)


def _add(here: list[ByteRange], new: ByteRange) -> None:
    """Merge a range into a sorted list of disjoint ranges, in place."""
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
    """Return the end of the contiguous bytes from `at`; `at` if that byte is missing."""
    place = bisect_right(here, at, key=lambda part: part.start)
    return max(at, here[place - 1].stop) if place else at
