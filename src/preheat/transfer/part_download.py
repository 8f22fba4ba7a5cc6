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
_TRIPS_TO_START = 6.0  # round trips until a new connection has its first bytes and some speed
# A connection is given up when it receives nothing for so long in the middle of a response; earlier if other
# connections of the same route do receive bytes.
SILENT_S, _SILENT_BESIDE_OTHERS_S = 20.0, 10.0
# The first byte may take 3 times as long as the slowest first byte of its route so far.
_FIRST_BYTE_S, LEAST_PATIENCE_S, _TIMES_THE_SLOWEST = 15.0, 4.0, 3.0
# Closing a connection wastes the bytes in flight. Their number is estimated as 2 round trips at its rate, plus the
# socket buffers, which hold no more than some seconds' bytes. A round trip includes the time in the line's queue.
_ROUND_TRIPS_ON_THE_WAY, _SOCKET_BUFFERS, _SOCKET_BUFFERS_S = 2.0, 256 << 10, 4.0
_LULL_S = 0.5
# A read returns only when its buffer is full: before, this many bytes may have arrived, within this many seconds.
_UNREAD, _UNREAD_S = 16 << 10, 5.0
# After this many seconds and round trips without a byte, few bytes can be in flight.
_IDLE_S, _IDLE_TRIPS, _SOCKET_BUFFERS_IDLE = 4.0, 6.0, 64 << 10
_PAUSES_S = 0.5
_SETTLED_S = 0.4  # TCP slow start: do not judge a flight's rate before
_LAGS = 4.0  # a flight lags if it is this many times slower than usual
_LAG_S = 0.3  # and needs longer than this for the rest


@dataclass(slots=True, eq=False)
class Download:
    """A file that is being downloaded. The scheduler's lock guards it.

    `gaps`: ranges not requested yet. `flights`: parts in progress. `received`: ranges received, each with its route.
    `earlier`: ranges that an earlier process received. `suspects`: routes that may have sent wrong bytes of this file;
    they are not used for it while another route has it. `doubted`: all routes that have ever been suspects. `failures`:
    how often the complete file had the wrong digest. `sealing`: a thread verifies the file, or is about to.
    """

    partial: Partial
    gaps: list[ByteRange]
    flights: set["Flight"] = field(default_factory=set)
    received: list[tuple[ByteRange, Route]] = field(default_factory=list)
    earlier: list[ByteRange] = field(default_factory=list)
    suspects: set[Route] = field(default_factory=set)
    doubted: set[Route] = field(default_factory=set)
    failures: int = 0
    sealing: bool = False

    @property
    def gaps_by_need(self) -> list[ByteRange]:
        """The gaps in order of request: first the bytes that a reader of the file is waiting for."""
        wanted = self.partial.wanted
        return self.gaps if wanted is None else urgent(self.gaps, wanted)

    def added_by(self, route: Route) -> int:
        """Return how many bytes of the file came from a route."""
        return sum(part.stop - part.start for part, bringer in self.received if bringer is route)


@dataclass(slots=True, eq=False)
class Flight:
    """The download of one part of a file, in progress: bytes `start` to `stop` (exclusive), from `route`.

    One thread, the flight's own, downloads the part. It advances `at`, the next byte to write, and pledges bytes before
    writing them. Other threads may lower `stop`, but not below `pledged`, so two threads never write the same byte.

    `holes`: if the server can only send the whole file, the ranges that are missing; only these are written. `reads`:
    the flight's thread is waiting for the network. `given_up`: why the flight was interrupted, in words. `answer_s`:
    time to first byte. `round_trip_s`: the connection's round-trip time in seconds; 0 if unknown.
    """

    download: Download
    route: Route
    start: int
    stop: int
    holes: tuple[ByteRange, ...] = ()
    at: int = 0
    pledged: int = 0
    answer_s: float = 0.0
    round_trip_s: float = 0.0
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
        """Reserve up to `count` bytes from `at` on for this thread to write; return the number of bytes reserved."""
        with self._turn:
            self.pledged = min(self.at + count, max(self.stop, self.at))
            return self.pledged - self.at

    def give_up(self, cut: int) -> ByteRange:
        """Give up the range from `cut` to the end, but no pledged bytes. Return the range given up; it may be empty."""
        with self._turn:
            cut = max(cut, self.pledged)
            rest = ByteRange(cut, max(self.stop, cut))
            self.stop = min(self.stop, cut)
            return rest

    @property
    def left(self) -> int:
        """Bytes still to receive."""
        return max(self.stop - self.at, 0)

    def hand_over(self, other_rate: float, now: float, allowance: int) -> ByteRange | None:
        """Give up the end of the part to a connection with `other_rate` bytes/s, if that saves seconds.

        Return the range given up. Return None if the part is too new or almost done, if this machine is the bottleneck,
        or if more than `allowance` bytes that are already on the way would be wasted.
        """
        new_s = _UNREAD_S if self.at == self.start else max(_SETTLED_S, self._trips_to_start_s)
        worth_s = max(_WORTH_S, self._trips_to_start_s)
        if self._answering_s(now) <= new_s or self.left_s(now) <= worth_s or self._waits_for_us(now):
            return None
        if self._line_pauses(now):
            return None
        rate = self.rate(now)
        cut = split(self.at, self.stop, rate, other_rate or rate)
        if cut - self.at < SMALLEST:
            # Little would be left for this connection: replace it, if the other one is much faster.
            if rate * _LAGS > other_rate:
                return None
            cut = self.at
        if self.on_the_way(now, cut) > allowance:
            return None
        rest = self.give_up(cut)
        return rest if rest.start < rest.stop else None

    def _waits_for_us(self, now: float) -> bool:
        """Whether this machine is the bottleneck: the last bytes were in local buffers when read, a short time ago."""
        return self.prompt and self.still_s(now) < _IDLE_S

    def on_the_way(self, now: float, cut: int, stop: int = 0) -> int:
        """Estimate how many bytes are wasted if this connection is closed at `cut` and another requests the rest.

        The server does not know `cut`, and goes on to send the bytes after it. When this connection has received the
        bytes up to `cut`, more are already on the way. `stop`: the end of the request; 0 for the end of this flight.
        """
        # The rate since the first byte: the wait for that byte says nothing about the bytes in flight now.
        rate = self.rate(now) * (now - self.began) / max(now - self.began - self.answer_s, 0.1)
        route = self.route
        if route.active < route.ramp.count:
            # Near the end, what other connections had is shared by those that are left.
            rate = max(rate, route.ramp.paid_rate / max(route.active, 1))
        ahead_s = max(self.answer_s, self.round_trip_s) * _ROUND_TRIPS_ON_THE_WAY
        if cut > self.at:
            # The connection goes on until it has received `cut`, and may be faster then, or the line may pause.
            rate, ahead_s = max(rate, route.rate), ahead_s + _LULL_S
        ahead = int(rate * ahead_s)
        kept = min(_SOCKET_BUFFERS, int(rate * _SOCKET_BUFFERS_S))
        if self.still_s(now) > max(_IDLE_S, _IDLE_TRIPS * max(self.answer_s, self.round_trip_s)):
            # By now, bytes that were in flight would have arrived.
            ahead, kept = 0, min(kept, _SOCKET_BUFFERS_IDLE)
        return max(min(ahead + kept, (stop or self.stop) - max(cut, self.at)), 0)

    def stalled(self, now: float, *, elsewhere: bool = False) -> str:
        """Return in words why the connection counts as stalled; empty if it is not stalled.

        Only time spent waiting for the network counts, not disk writes or the rate limit. The first byte may take 3
        times as long as the slowest first byte of the route so far, and at least 15 s. With `elsewhere`, when another
        route serves the file, the minimum is 4 s.
        """
        still_s = self.still_s(now)
        others = self.route.received_at > now - still_s / 2
        if self.at == self.start:
            least_s = LEAST_PATIENCE_S if elsewhere else _FIRST_BYTE_S
            patience_s = max(least_s, _TIMES_THE_SLOWEST * self.route.slowest_answer_s)
            late = (others or elsewhere) and still_s > patience_s
            return f"did not respond within {still_s:.0f} s" if late else ""
        if still_s > (_SILENT_BESIDE_OTHERS_S if others else SILENT_S):
            return f"sent nothing for {still_s:.0f} s"
        return ""

    def lags(self, usual_rate: float, now: float) -> bool:
        """Whether a new connection with `usual_rate` bytes/s would finish the part much earlier.

        That may be so after packet loss, since TCP takes seconds to speed up again. A connection that has not received
        its first byte does not lag, since the server may need that long to respond.
        """
        slow = not self.is_new(now) and self.rate(now) * _LAGS < usual_rate
        return slow and not self.prompt and self.left_s(now) > _LAG_S and not self._line_pauses(now)

    def is_new(self, now: float) -> bool:
        """Whether the connection has not received bytes for long enough to judge its rate."""
        return self.at == self.start or self._answering_s(now) <= max(self.settled_s, self._trips_to_start_s)

    def _line_pauses(self, now: float) -> bool:
        """Whether no connection of the route has received anything for some time, so that all of them look slow."""
        return _PAUSES_S < now - self.route.received_at < _IDLE_S

    @property
    def _trips_to_start_s(self) -> float:
        """Seconds until a connection has some speed."""
        return _TRIPS_TO_START * max(self.round_trip_s, self.route.round_trip_s)

    def _answering_s(self, now: float) -> float:
        """Return for how many seconds the response has been arriving; below 0 if it has not begun."""
        return now - self.began - self.answer_s if self.answer_s else -1.0

    def rate(self, now: float) -> float:
        """Return the average rate so far in bytes/s. Until the first read has ended, it is an upper estimate."""
        size = self.at - self.start or (_UNREAD if self.answer_s else 0)
        return size / max(now - self.began, 0.001)

    def left_s(self, now: float) -> float:
        """Return the estimated seconds for the rest of the part."""
        rate = self.rate(now)
        return self.left / rate if rate > 0 else (now - self.began) + 1.0

    def still_s(self, now: float) -> float:
        """Return for how many seconds the flight's thread has been waiting for the network."""
        interrupt = self.interrupt
        return now - interrupt.received_at if interrupt is not None and self.reads else 0.0

    def bind(self, interrupt: Interrupt) -> None:
        """Make the flight interruptible, with the interrupt of the thread that downloads it."""
        with self._turn:
            interrupt.clear()
            self.interrupt = interrupt
            if self.given_up:
                interrupt.set()

    def unbind(self) -> None:
        """Detach the thread's interrupt, so that a later `break_off` cannot interrupt the thread's next flight."""
        with self._turn:
            interrupt, self.interrupt = self.interrupt, None
            if interrupt is not None:
                interrupt.clear()

    def break_off(self, why: str) -> None:
        """Interrupt the read of the flight's thread; `why` is the reason in words."""
        with self._turn:
            self.given_up = self.given_up or why
            if self.interrupt is not None:
                self.interrupt.set()
