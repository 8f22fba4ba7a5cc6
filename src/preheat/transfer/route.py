"""Route: one source of a snapshot's bytes, and its record of speed and errors."""

import math
import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from preheat.core.digest import Digest
from preheat.core.errors import HubError, HubUnavailable, IntegrityError
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace
from preheat.hubs.hub import Hub, Reader
from preheat.net.retry import RetryPolicy
from preheat.transfer.planning.concurrency import Ramp
from preheat.transfer.planning.part_plan import part_size

_FAR_S = 0.005  # round trip
_WORTH_TRYING_S = 5.0
_PAUSE_S = 0.5  # pause after a hub refused one more connection, or closed one after few bytes
_TRICKLE_S, _LEAST_RATE = 20.0, 256  # seconds; bytes/s of a whole route
_TOO_MANY = 429  # requests in a time, in contrast to connections at a time
WORTH_ASKING = 64 << 10  # a connection that breaks after fewer bytes counts as failed


class Measured(NamedTuple):
    """A rate in bytes/s. `prompt`: most bytes were already in local buffers, so this machine is the bottleneck."""

    rate: float
    prompt: bool


@dataclass(frozen=True, slots=True)
class Way:
    """A source of blobs: a hub, its display name, and a snapshot on that hub that contains the blobs."""

    name: str
    hub: Hub
    snapshot: Snapshot

    def only(self, file: File) -> "Way":
        """Return the way to one file of the snapshot."""
        return replace(self, snapshot=replace(self.snapshot, files=(file,)))

    def files(self) -> dict[Digest, File]:
        """Return the files of the snapshot by digest."""
        return {file.digest: file for file in self.snapshot.files}


@dataclass(slots=True, eq=False)
class Route:
    """A source in use, with its record of speed and errors. The scheduler's lock guards all that no other lock does.

    Times are time.monotonic() seconds, sizes are bytes. The threads that download call `answered` and `arrived` without
    the scheduler's lock; `_turn` guards what these methods write.

    - `active`: connections in use. `answers`: responses that have begun. `received`: bytes of all responses, of which
      `prompt` bytes were already in local buffers when they were read (this machine is the bottleneck).
    - `window`: when the current period of `trickles` began, and the bytes and responses of the route until then.
    - `rate`: bytes/s of one connection. `answer_s`: the usual time to first byte. `round_trip_s`: the shortest time
      to first byte so far. `slowest_answer_s`: the longest so far. `trip_s`: the shortest round trip, which the kernel
      measures without the time that the hub needs to respond.
    - `used_when_refused`: connections in use when the hub last refused one more, at `refused_at`. 0 if the hub has
      refused none, or if `served` has already lowered the maximum.
    - `received_at`: when bytes last arrived. `failures`: failures since then, the last of them at `failed_at`.
    - `paused_until`: when a pause of the route ends. `left`: why the route was given up; empty while it is in use.
    - `whole_only`: blobs that the hub serves without range requests. `first_far`: the minimum of initial connections
      if the hub is far.
    """

    way: Way
    ramp: Ramp
    files: dict[Digest, File] = field(init=False)
    active: int = 0
    received: int = 0
    prompt: int = 0
    answers: int = 0
    rate: float = 0.0
    answer_s: float = 0.0
    round_trip_s: float = 0.0
    trip_s: float = 0.0
    slowest_answer_s: float = 0.0
    began: float = field(default_factory=time.monotonic)
    received_at: float = 0.0
    failures: int = 0
    failed_at: float = 0.0
    used_when_refused: int = 0
    refused_at: float = 0.0
    window: tuple[float, int] = (0.0, 0)
    paused_until: float = 0.0
    first_far: int = 0
    whole_only: set[Digest] = field(default_factory=set)
    left: str = ""
    error: HubError | IntegrityError | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.files = self.way.files()

    def open(self, digest: Digest, start: int, stop: int) -> Reader:
        """Request bytes `start` to `stop` (exclusive) of the blob."""
        return self.way.hub.open(self.way.snapshot, self.files[digest], start, stop)

    def answered(self, answer_s: float, trip_s: float = 0.0) -> None:
        """Record that a response began after `answer_s` seconds.

        `trip_s`: the round trip of its connection according to the kernel, 0 if unknown.
        """
        trip_s = min(trip_s or answer_s, answer_s)
        with self._turn:
            self.trip_s = min(self.trip_s or trip_s, trip_s)
            self.answers += 1
            self.answer_s = self.answer_s or answer_s
            self.round_trip_s = min(self.round_trip_s or answer_s, answer_s)
            self.slowest_answer_s = max(self.slowest_answer_s, answer_s)

    def arrived(self, count: int, now: float, *, prompt: bool) -> None:
        """Count received bytes. `prompt`: they were already in local buffers when they were read."""
        with self._turn:
            self.received_at = now
            self.received += count
            self.prompt += count if prompt else 0

    def learn(self, rate: float, size: int, answer_s: float) -> None:
        """Record a connection's `rate` in bytes/s over `size` bytes and its time to first byte.

        Samples below 64 KiB are ignored.
        """
        if size >= WORTH_ASKING:
            self.rate = 0.7 * self.rate + 0.3 * rate if self.rate else rate
            with self._turn:
                self.answer_s = 0.7 * self.answer_s + 0.3 * answer_s if self.answer_s else answer_s

    def served(self, flight_began: float) -> None:
        """Record that a request made at `flight_began` brought bytes.

        If the hub refused one more connection after that request, the hub accepts no more connections than were in use
        at the refusal. Then lower the maximum to that number.
        """
        self.failures = 0
        if self.used_when_refused and flight_began < self.refused_at:
            self.ramp = self.ramp.at_most(self.used_when_refused)
            self.used_when_refused = 0

    def tune(self, measured: Measured | None, left: int) -> bool:
        """Tune the number of connections to a measured rate, if there is one. Return whether an increase was undone.

        When few bytes are `left` to request, no other number is tried.
        """
        if self.far:
            self.ramp = self.ramp.at_least(self.first_far)
        if measured is None or (self.ramp.trying == "settled" and left < _WORTH_TRYING_S * measured.rate):
            return False
        before, self.ramp = self.ramp, self.ramp.step(measured.rate, prompt=measured.prompt)
        return before.trying == "more" and self.ramp.count < before.count

    def part_size(self, left: int, connections: int) -> int:
        """Choose the size of the next request in bytes; see `preheat.transfer.planning.part_plan.part_size`."""
        return part_size(self.rate, self.answer_s, left, connections)

    def connection_broke(
        self, error: HubUnavailable, received: int, now: float, patience: RetryPolicy, serving: int = 0
    ) -> float | None:
        """Record that a connection broke after `received` bytes.

        Return the length of the route's pause in seconds; None if the route was already paused. When a hub goes down,
        all its connections fail at once, and this counts as one failure. A hub that refuses one more connection while
        `serving` others receive bytes has not failed, but has reached its maximum. A hub that has responded, or asks to
        slow down, may be unreachable for `patience.lasting_s` seconds. A hub that has not responded yet gets
        `patience.attempts` attempts, or only one if it remains silent.
        """
        if received:
            return 0.0 if received >= WORTH_ASKING else self._rest(_PAUSE_S, now)
        if error.wait_s is None or error.status != _TOO_MANY:
            self.used_when_refused, self.refused_at = self.active, now
        if serving and error.status != _TOO_MANY:
            self.ramp = self.ramp.at_most(serving)
            return self._rest(min(error.wait_s or _PAUSE_S, patience.longest_wait_s), now)
        if error.wait_s is not None:
            self.ramp = self.ramp.halved()
        if now < self.paused_until:
            return None
        self.failures += 1
        self.failed_at = now
        self.error = error
        wait_s = patience.wait_s(self.failures, error.wait_s, 0.5)
        if self.received_at or error.status == _TOO_MANY or (error.seen and not error.silent):
            left_s = self.left_s(patience, now)
            if (error.wait_s or 0.0) > left_s > 0:
                self.left, self.error = error.message, _too_long(error, left_s)
                return self._rest(0.0, now)
            wait_s = min(wait_s, max(left_s, 0.0))
            if left_s <= 0 or patience.attempts < 2:
                self.left, self.error = error.message, _gave_up(error, patience)
        elif self.failures >= patience.attempts or error.silent:
            self.left = error.message
        return self._rest(wait_s, now)

    def trickles(self, received_at: float, now: float) -> str:
        """Return a reason, in words, if the route's connections are not silent, but receive next to nothing; else "".

        `received_at`: when any of the connections last received bytes. Call this method regularly while the route has
        connections, since it compares the bytes received at different times.
        """
        began, before = self.window
        # A small file takes as long as its response: each response counts as a large file's bytes.
        sum_now = self.received + WORTH_ASKING * self.answers
        if not self.active or not began or now - began >= _TRICKLE_S:
            self.window = (now, sum_now)
        size, period_s = sum_now - before, now - began
        if not began or period_s < _TRICKLE_S or now - received_at > _TRICKLE_S / 3 or size >= _LEAST_RATE * period_s:
            return ""
        return f"sent next to nothing in {period_s:.0f} s"

    def left_s(self, patience: RetryPolicy, now: float) -> float:
        """Return for how many more seconds the hub may be unreachable before the route is given up."""
        return max(self.received_at, self.began) + patience.lasting_s - now

    @property
    def is_unreachable(self) -> bool:
        """Whether the route has failed, and no bytes have arrived since the last failure."""
        return self.failures > 0 and self.received_at < self.failed_at

    @property
    def most(self) -> int:
        """Maximum number of connections. While the route is away, only 1, to find out whether the hub responds."""
        return 1 if self.is_unreachable else self.ramp.count

    def _rest(self, wait_s: float, now: float) -> float:
        self.paused_until = max(self.paused_until, now + wait_s)
        return wait_s

    @property
    def far(self) -> bool:
        """Whether the round trip to the hub is so long that TCP slow start takes seconds."""
        return self.round_trip_s >= _FAR_S

    def usable(self, digest: Digest, now: float) -> bool:
        """Whether the route has the blob, is in use, and is not paused now."""
        return not self.left and now >= self.paused_until and digest in self.files


def _gave_up(error: HubUnavailable, patience: RetryPolicy) -> HubUnavailable:
    waited = f"{error.message}; gave up after {patience.lasting_s:.0f} s" if patience.lasting_s else error.message
    hint = "pull again to resume the download, or wait longer with --patience 30m"
    return HubUnavailable(waited, hint=hint, status=error.status, seen=True)


def _too_long(error: HubUnavailable, left_s: float) -> HubUnavailable:
    waits = f"{error.message}; it asks to wait {error.wait_s:.0f} s, longer than the {left_s:.0f} s left"
    hint = f"pull again after that time, or wait: --patience {math.ceil((error.wait_s or 0) / 60) + 1}m"
    return HubUnavailable(waits, hint=hint, status=error.status, seen=True)


class MeasuredSpeeds:
    """The number of connections and the rate that were measured for each source, as a start for the next fetch."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Ramp, float, float]] = {}

    def route(self, way: Way, ceiling: int, first: int, first_far: int = 0) -> Route:
        """Return a route for a source. A known source starts with the values that were measured before.

        A new source starts with `first` connections, and with at least `first_far` if its hub is far.
        """
        known = self._known.get(way.name)
        if known is None:
            first = max(first, first_far) if way.hub.round_trip_s >= _FAR_S else first
            return Route(way, Ramp.of(ceiling, first), first_far=first_far)
        ramp, rate, answer_s = known
        return Route(way, ramp, rate=rate, answer_s=answer_s)

    def learn(self, route: Route) -> None:
        """Remember a route's connections and rate at the end of a fetch."""
        self._known[route.way.name] = (route.ramp.again(), route.rate, route.answer_s)
