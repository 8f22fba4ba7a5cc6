"""Part download: one part of a file in progress, and the file that it belongs to."""

import threading
import time
from dataclasses import dataclass, field

from preheat.library.blobs.partial import Partial
from preheat.library.blobs.ranges import ByteRange
from preheat.net.interrupt import Interrupt
from preheat.transfer.planning.part_plan import SMALLEST, split, urgent
from preheat.transfer.route import Route

_WORTH_S = 3.0
# A line that brings nothing for so long in the middle of an answer has broken; if other connections of its route
# are alive meanwhile, it is known earlier that this one is not.
SILENT_S, _SILENT_BESIDE_OTHERS_S = 20.0, 10.0
# A first byte may take as long as the slowest that its route has ever brought, several times over.
_FIRST_BYTE_S, _FIRST_BYTE_ELSEWHERE_S, _TIMES_THE_SLOWEST = 15.0, 4.0, 3.0
# Bytes that are on the way when a connection is given up are sent for nothing: at most so many, in round trips at
# its rate, and as much as its ends keep anyway.
_ROUND_TRIPS_ON_THE_WAY, _KEPT_BY_ITS_ENDS = 2.0, 256 << 10
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
    gaps: list[ByteRange]
    flights: set["Flight"] = field(default_factory=set)
    brought: list[tuple[ByteRange, Route]] = field(default_factory=list)
    earlier: list[ByteRange] = field(default_factory=list)
    suspects: set[Route] = field(default_factory=set)
    doubted: set[Route] = field(default_factory=set)
    failures: int = 0
    sealing: bool = False

    @property
    def gaps_by_need(self) -> list[ByteRange]:
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
    that only comes whole. `reads` is set while its thread waits for the network and for nothing else; `given_up` says
    in words why it was interrupted.
    """

    download: Download
    route: Route
    start: int
    stop: int
    holes: tuple[ByteRange, ...] = ()
    at: int = 0
    pledged: int = 0
    answer_s: float = 0.0
    prompt: bool = False
    settled_s: float = _SETTLED_S
    began: float = field(default_factory=time.monotonic)
    reads: bool = True
    given_up: str = ""
    interrupt: Interrupt | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.at = self.pledged = self.start

    def pledge(self, count: int) -> int:
        """Say how many of `count` bytes at `at` are still this flight's to write; they stay so."""
        with self._turn:
            self.pledged = min(self.at + count, max(self.stop, self.at))
            return self.pledged - self.at

    def give_up(self, cut: int) -> ByteRange:
        """Leave the bytes from `cut` on, or from what is pledged if that is more, to somebody else."""
        with self._turn:
            cut = max(cut, self.pledged)
            rest = ByteRange(cut, max(self.stop, cut))
            self.stop = min(self.stop, cut)
            return rest

    @property
    def left(self) -> int:
        """Bytes still to come."""
        return max(self.stop - self.at, 0)

    def hand_over(self, other_rate: float, now: float, allowance: int) -> ByteRange | None:
        """Leave the end of it to a connection that brings `other_rate` bytes a second, if that gains seconds.

        What is on its way when a connection is cut off was sent for nothing, so that must fit into `allowance` bytes;
        and where bytes wait to be read, this machine is late and not the line. Nobody is judged by the first bytes
        after an answer's headers.
        """
        if now - self.began <= _SETTLED_S or self.left_s(now) <= _WORTH_S or self.prompt or self.at == self.start:
            return None
        cut = split(self.at, self.stop, self.rate(now), other_rate or self.rate(now))
        cut = self.at if cut - self.at < SMALLEST else cut
        if self.on_the_way(now, cut) > allowance:
            return None
        rest = self.give_up(cut)
        return rest if rest.start < rest.stop else None

    def on_the_way(self, now: float, cut: int) -> int:
        """Return how many bytes behind `cut` may have been sent already, in vain if they are left to another."""
        ahead = int(self.rate(now) * self.answer_s * _ROUND_TRIPS_ON_THE_WAY) + _KEPT_BY_ITS_ENDS
        return max(min(self.at + ahead, self.stop) - cut, 0) if cut > self.at else min(ahead, self.stop - self.at)

    def stalled(self, now: float, *, elsewhere: bool = False) -> str:
        """Return in words why it is to be given up, for it has brought nothing for so long; empty while it may go on.

        A first byte that is late is no stall as long as its route's have been as late before. Where another route
        serves the same file (`elsewhere`), it is waited for less. What its own thread does meanwhile, such as writing
        or keeping to a limit, does not count.
        """
        still_s = self.still_s(now)
        others = self.route.heard > now - still_s / 2
        if self.at == self.start:
            least_s = _FIRST_BYTE_ELSEWHERE_S if elsewhere else _FIRST_BYTE_S
            patience_s = max(least_s, _TIMES_THE_SLOWEST * self.route.slowest_answer_s)
            late = (others or elsewhere) and still_s > patience_s
            return f"did not begin its answer within {still_s:.0f} s" if late else ""
        if still_s > (_SILENT_BESIDE_OTHERS_S if others else SILENT_S):
            return f"sent nothing for {still_s:.0f} s"
        return ""

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
        """Return for how many seconds its thread has waited for the network in vain."""
        interrupt = self.interrupt
        return now - interrupt.heard if interrupt is not None and self.reads else 0.0

    def bind(self, interrupt: Interrupt) -> None:
        """Let it be broken off from now on, by the interrupt of the thread that carries it."""
        with self._turn:
            interrupt.clear()
            self.interrupt = interrupt
            if self.given_up:
                interrupt.set()

    def unbind(self) -> None:
        """Its thread is done with it: what breaks it off from now on is not to reach the thread's next one."""
        with self._turn:
            interrupt, self.interrupt = self.interrupt, None
            if interrupt is not None:
                interrupt.clear()

    def break_off(self, why: str) -> None:
        """End its thread's read; `why` says in words what for."""
        with self._turn:
            self.given_up = self.given_up or why
            if self.interrupt is not None:
                self.interrupt.set()
