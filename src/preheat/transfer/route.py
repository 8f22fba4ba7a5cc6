"""Route: one source of a snapshot's bytes, and its record of speed and errors."""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from preheat.core.digest import Digest
from preheat.core.errors import HubError, HubUnavailable, IntegrityError
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.hub import Hub, Reader
from preheat.net.retry import RetryPolicy
from preheat.transfer.planning.concurrency import Ramp
from preheat.transfer.planning.part_plan import part_size

_FAR_S = 0.005  # round trip
_PAUSE_S = 0.5  # before asking again a hub that serves, but not so many connections, or few bytes each
WORTH_ASKING = 64 << 10  # who brings less before it breaks has failed


class Measured(NamedTuple):
    """Bytes a second, and whether most of them waited here to be read: then this machine is the limit, not the line."""

    rate: float
    prompt: bool


@dataclass(frozen=True, slots=True)
class Way:
    """A hub, by a name for people, and its snapshot that holds the same bytes: digests decide what is the same."""

    name: str
    hub: Hub
    snapshot: Snapshot

    def files(self) -> dict[Digest, File]:
        """Say which bytes it has, and under which paths."""
        return {file.digest: file for file in self.snapshot.files}


@dataclass(slots=True, eq=False)
class Route:
    """A way in use. The board's lock guards it.

    `heard` is the time.monotonic() at which any of its connections last brought bytes, `slowest_answer_s` the longest
    that a first byte ever took. `answers` have begun; `received` are their bytes, of which `prompt` waited here to be
    read: then not the line is the limit, but this machine. `whole_only` are the blobs that it sends whole or not at
    all. `failures` counts those since the last byte, the last of them at `failed_at`; `rests_until` is when it may be
    asked again; `left` says why it is not asked any more. `rate` is what one of its connections brings a second,
    `answer_s` how long it waits for the first byte, `round_trip_s` the least that it ever waited. `first_far` is with
    how many to begin at least if it is far.
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
    slowest_answer_s: float = 0.0
    began: float = field(default_factory=time.monotonic)
    heard: float = 0.0
    failures: int = 0
    failed_at: float = 0.0
    rests_until: float = 0.0
    first_far: int = 0
    whole_only: set[Digest] = field(default_factory=set)
    left: str = ""
    error: HubError | IntegrityError | None = None

    def __post_init__(self) -> None:
        self.files = self.way.files()

    def open(self, digest: Digest, start: int, stop: int) -> Reader:
        """Ask for bytes `start` up to `stop` of the blob."""
        return self.way.hub.open(self.way.snapshot, self.files[digest], start, stop)

    def answered(self, answer_s: float) -> None:
        """Take in that an answer began, after so long."""
        self.answers += 1
        self.answer_s = self.answer_s or answer_s
        self.round_trip_s = min(self.round_trip_s or answer_s, answer_s)
        self.slowest_answer_s = max(self.slowest_answer_s, answer_s)

    def learn(self, rate: float, size: int, answer_s: float) -> None:
        """Take in what a connection brought a second, over `size` bytes, and how long it waited for the first.

        A handful of bytes tells nothing.
        """
        if size >= WORTH_ASKING:
            self.rate = 0.7 * self.rate + 0.3 * rate if self.rate else rate
            self.answer_s = 0.7 * self.answer_s + 0.3 * answer_s if self.answer_s else answer_s

    def steer(self, said: Measured | None) -> bool:
        """Take in what its connections bring now, if that can be said; tell whether a try with more was given up."""
        if self.far:
            self.ramp = self.ramp.at_least(self.first_far)
        if said is None:
            return False
        before, self.ramp = self.ramp, self.ramp.step(said.rate, prompt=said.prompt)
        return before.trying == "more" and self.ramp.count < before.count

    def part_size(self, left: int, connections: int) -> int:
        """Choose how much one of its connections asks for next; see `preheat.transfer.planning.part_plan.part_size`."""
        return part_size(self.rate, self.answer_s, left, connections)

    def stumble(
        self, error: HubUnavailable, brought: int, now: float, patience: RetryPolicy, serving: int = 0
    ) -> float | None:
        """Take in that a line broke after `brought` bytes; return how many seconds to rest, None if that is known.

        A hub that is down fails all its connections at once: that is one failure, not many. One that refuses more
        while `serving` connections bring bytes serves no more than those, and has not failed. One that has served, or
        whose host has answered, may be away for `patience.lasting_s`; a new one has `patience.attempts`, and one that
        keeps silent none.
        """
        if brought:
            return 0.0 if brought >= WORTH_ASKING else self._rest(_PAUSE_S, now)
        if serving:
            self.ramp = self.ramp.at_most(serving)
            return self._rest(min(error.wait_s or _PAUSE_S, patience.longest_wait_s), now)
        if error.wait_s is not None:
            self.ramp = self.ramp.halved()
        if now < self.rests_until:
            return None
        self.failures += 1
        self.failed_at = now
        self.error = error
        wait_s = patience.wait_s(self.failures, error.wait_s, 0.5)
        if self.heard or (error.seen and not error.silent):
            left_s = self.left_s(patience, now)
            wait_s = min(wait_s, max(left_s, 0.0))
            if left_s <= 0 or patience.attempts < 2:
                self.left, self.error = error.message, _spent(error, patience)
        elif self.failures >= patience.attempts or error.silent:
            self.left = error.message
        return self._rest(wait_s, now)

    def left_s(self, patience: RetryPolicy, now: float) -> float:
        """Return for how many seconds more it may be away."""
        return max(self.heard, self.began) + patience.lasting_s - now

    @property
    def is_away(self) -> bool:
        """Whether it has failed, and brought nothing since."""
        return self.failures > 0 and self.heard < self.failed_at

    @property
    def most(self) -> int:
        """How many connections it may have: one, to try it, while it is away."""
        return 1 if self.is_away else self.ramp.count

    def _rest(self, wait_s: float, now: float) -> float:
        self.rests_until = max(self.rests_until, now + wait_s)
        return wait_s

    @property
    def far(self) -> bool:
        """Whether it takes TCP seconds there to grow to what a line can bring."""
        return self.round_trip_s >= _FAR_S

    def usable(self, digest: Digest, now: float) -> bool:
        """Whether it can be asked for some of the blob now."""
        return not self.left and now >= self.rests_until and digest in self.files


def _spent(error: HubUnavailable, patience: RetryPolicy) -> HubUnavailable:
    waited = f"{error.message}; it was waited for {patience.lasting_s:.0f} s" if patience.lasting_s else error.message
    hint = "what arrived is kept: pull again to go on, or wait longer with --patience 30m"
    return HubUnavailable(waited, hint=hint, status=error.status, seen=True)


class Lines:
    """What was learnt of each way, by its name, so that the next fetch over it begins where this one ended."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Ramp, float, float]] = {}

    def route(self, way: Way, ceiling: int, first: int, first_far: int = 0) -> Route:
        """Take a way into use; one that is new begins with `first` connections, or `first_far` if it is far."""
        known = self._known.get(way.name)
        if known is None:
            return Route(way, Ramp.of(ceiling, first), first_far=first_far)
        ramp, rate, answer_s = known
        return Route(way, ramp, rate=rate, answer_s=answer_s)

    def learn(self, route: Route) -> None:
        """Remember how a route ended."""
        self._known[route.way.name] = (route.ramp.again(), route.rate, route.answer_s)
