"""Flight: a part on its way, and the file it belongs to."""

import contextlib
import threading
import time
from dataclasses import dataclass, field

from preheat.hub import Reader
from preheat.library.partial import Partial
from preheat.library.ranges import Range
from preheat.transfer.plan import SMALLEST, split, urgent
from preheat.transfer.route import Route

STALLED_S = 4.0
_WORTH_S = 3.0
_SETTLED_S = 0.4  # for so long a flight may be slow: TCP begins so
_LAGS = 4.0  # times slower than usual,
_LAG_S = 0.3  # and with so much still to come, it lags


@dataclass(slots=True, eq=False)
class Download:
    """A file on its way. The board's lock guards it.

    `gaps` are not asked for yet; `brought` says which route brought what; `suspects` gave bytes that were part of a
    wrong whole, and are not asked again for this file while anybody else has it; `doubted` are those that ever did.
    """

    partial: Partial
    gaps: list[Range]
    flights: set["Flight"] = field(default_factory=set)
    brought: list[tuple[Range, Route]] = field(default_factory=list)
    earlier: list[Range] = field(default_factory=list)
    suspects: set[Route] = field(default_factory=set)
    doubted: set[Route] = field(default_factory=set)
    failures: int = 0
    sealing: bool = False

    @property
    def gaps_by_need(self) -> list[Range]:
        """The gaps, that first which somebody waits for."""
        wanted = self.partial.wanted
        return self.gaps if wanted is None else urgent(self.gaps, wanted)

    def brought_by(self, route: Route) -> int:
        """Say how many bytes a route brought."""
        return sum(part.stop - part.start for part, bringer in self.brought if bringer is route)


@dataclass(slots=True, eq=False)
class Flight:
    """Bytes `at` up to `stop`, asked of `route`.

    Its own thread moves `at`, and pledges what it is about to write; others may bring `stop` nearer, but not below
    what is pledged: so no two threads ever write the same byte. `holes`, if any, are all that is wanted of a file
    that only comes whole.
    """

    download: Download
    route: Route
    start: int
    stop: int
    holes: tuple[Range, ...] = ()
    at: int = 0
    pledged: int = 0
    answer_s: float = 0.0
    prompt: bool = False
    settled_s: float = _SETTLED_S
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)
    reader: Reader | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.at = self.pledged = self.start

    def pledge(self, count: int) -> int:
        """Say how many of `count` bytes at `at` are still this flight's to write; they stay so."""
        with self._turn:
            self.pledged = min(self.at + count, max(self.stop, self.at))
            return self.pledged - self.at

    def give_up(self, cut: int) -> Range:
        """Leave the bytes from `cut` on, or from what is pledged if that is more, to somebody else."""
        with self._turn:
            cut = max(cut, self.pledged)
            rest = Range(cut, max(self.stop, cut))
            self.stop = min(self.stop, cut)
            return rest

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return max(self.stop - self.at, 0)

    def hand_over(self, other_rate: float, now: float) -> Range | None:
        """Leave the end of it to a connection that brings `other_rate` bytes a second, if that gains seconds.

        What is broken off was sent for nothing, above all where bytes wait to be read: then it is this machine that is
        late. From one that stands still, all is taken. By the first bytes after an answer's headers nobody is judged.
        """
        rate = self.rate(now)
        if self.still_s(now) > STALLED_S / 2:
            cut = self.at
        elif now - self.began > _SETTLED_S and self.left_s(now) > _WORTH_S and not self.prompt:
            cut = split(self.at, self.stop, rate, other_rate or rate)
            cut = self.at if cut - self.at < SMALLEST else cut
        else:
            return None
        rest = self.give_up(cut)
        return rest if rest.start < rest.stop else None

    def lags(self, usual_rate: float, now: float) -> bool:
        """Whether a connection that brings as much as others would have the rest much sooner.

        A line that lost packets, or seemed to, takes TCP seconds to grow again. Who waits for its first byte does not
        lag: that may be what an answer takes.
        """
        slow = self.at > self.start and now - self.began > self.settled_s and self.rate(now) * _LAGS < usual_rate
        return slow and not self.prompt and self.left_s(now) > _LAG_S

    def rate(self, now: float) -> float:
        """Say how many bytes a second came so far."""
        return (self.at - self.start) / max(now - self.began, 0.001)

    def left_s(self, now: float) -> float:
        """Say how many seconds the rest will take."""
        rate = self.rate(now)
        return self.left / rate if rate > 0 else (now - self.began) + 1.0

    def still_s(self, now: float) -> float:
        """Say for how many seconds nothing has come."""
        return now - self.moved

    def break_off(self) -> None:
        """Wake its thread from a read that does not end."""
        reader = self.reader
        if reader is not None:
            # The thread may be letting go of the reader at this very moment; then there is nothing to wake.
            with contextlib.suppress(ValueError, RuntimeError, OSError):
                reader.break_off()
