"""Proof plan: the starts and downloads of a proof, the space that they need, and how long they will take; pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from preheat.core.values.replace import replace
from preheat.proof.start.timeline import COLD, PRELOADED, RESTART, THAWED, WARM

PULL, REHEARSAL, LIMITS = "pull", "rehearsal", "limits"
_STARTS = {
    PULL: 0,
    REHEARSAL: 1,
    COLD: 1,
    PRELOADED: 1,
    WARM: 2,
    RESTART: 2,
    THAWED: 1,
    LIMITS: 0,
}  # of the app, in each step
_BARE_STARTS = 1.5  # the time of the bare imports, in starts
_STOP_AT_MOST_S = 10.0  # for each start: the grace period of the app's end
# How much less and more time a step takes than computed: from the line's rate, from starts of `run`, which have a warm
# page cache, and from a start of this proof, which may have been of another condition.
_BY_LINE, _BY_RUN, _BY_START = (0.8, 1.5), (0.7, 3.0), (0.7, 2.0)
_AGAIN = (0.85, 1.25)  # than the same step took before
# Short steps do not show how fast the others are: one may take a hundred times its estimate, and still be short.
_DAMPED_S, _MOST_PACE = 10.0, 4.0
_LATE = 0.5  # of the time that a step took so far, if that is more than was expected at most


@dataclass(frozen=True, slots=True)
class Estimate:
    """A time in seconds: at least `least`, at most `most`, None if that is not known."""

    least: float = 0.0
    most: float | None = 0.0

    @property
    def likely(self) -> float | None:
        """The middle, None if it is not known."""
        return None if self.most is None else (self.least + self.most) / 2

    def scaled(self, least: float, most: float) -> "Estimate":
        """Return the time with both ends multiplied."""
        return Estimate(self.least * least, None if self.most is None else self.most * most)

    def after(self, seconds: float) -> "Estimate":
        """Return what is left of it after some seconds."""
        if self.most is None:
            return Estimate(max(0.0, self.least - seconds), None)
        return Estimate(max(0.0, self.least - seconds), self.most - seconds if seconds < self.most else seconds * _LATE)


def exactly(seconds: float) -> Estimate:
    """Return a time that is known."""
    return Estimate(seconds, seconds)


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Return the sum of times; at most unknown, if one of them is."""
    known = list(estimates)
    most = [one.most for one in known if one.most is not None]
    return Estimate(sum(one.least for one in known), sum(most) if len(most) == len(known) else None)


@dataclass(frozen=True, slots=True)
class ProofPlan:
    """A proof of `rounds` rounds under `conditions`. `size`: the bytes that one download fetches.

    `start_s`: how long a start takes, as far as known; `measured`: by a start of this proof. `one` and `many`: the
    rates of the line in bytes per second over one connection, as apps download, and over many. `observe_s`: how long an
    offline start is observed after first use. `makes`: the recipe has made files, without which one warm start a round
    is timed too. `load`: how many processes compete for each core, at least 1.
    """

    rounds: int
    conditions: tuple[str, ...]
    size: int
    start_s: float | None = None
    one: float | None = None
    many: float | None = None
    observe_s: float = 0.0
    makes: bool = False
    measured: bool = False
    load: float = 1.0

    @property
    def pulls(self) -> bool:
        """Whether the needs are pulled into a library of the proof."""
        return set(self.conditions) != {COLD}

    @property
    def rehearses(self) -> bool:
        """Whether one start that is not measured comes first, so that only a first start's work is in no condition."""
        return COLD in self.conditions and self.pulls

    @property
    def starts(self) -> int:
        """Return the number of starts of the app."""
        return sum(self.starts_of(step) for round_ in range(1, self.rounds + 1) for step in self.steps(round_))

    @property
    def downloads(self) -> int:
        """Return how often the files are downloaded, by the app and by the pull."""
        return self.rounds * (self.pulls + (COLD in self.conditions))

    @property
    def space(self) -> int:
        """Return the bytes needed at once: for the proof's library, and for the files of a cold start."""
        return self.size * (1 + self.rehearses)

    def steps(self, round_: int) -> tuple[str, ...]:
        """Return the steps of a round, in order."""
        measured = tuple(one for one in (PRELOADED, WARM, RESTART, THAWED) if one in self.conditions)
        cold = (COLD,) if COLD in self.conditions else ()
        if not self.pulls:
            return cold
        if round_ == 1 and self.rehearses:
            return (PULL, REHEARSAL, *cold, *measured, LIMITS)
        return (*cold, PULL, *measured, LIMITS)

    def seconds(self, step: str) -> Estimate:
        """Return how long a step will take, as far as known."""
        return total((self._downloading(step), self._starting(step), exactly(self.observed_s(step))))

    def _downloading(self, step: str) -> Estimate:
        if step not in (COLD, PULL) or not self.size:
            return Estimate()
        rate = self.one if step == COLD else self.many
        return exactly(self.size / rate).scaled(*_BY_LINE) if rate else Estimate(0.0, None)

    def _starting(self, step: str) -> Estimate:
        starts = _BARE_STARTS if step == LIMITS else self.starts_of(step)
        if not starts:
            return Estimate()
        if self.start_s is None:
            return Estimate(0.0, None)
        least, most = _BY_START if self.measured else _BY_RUN
        # A start of this proof includes its end, and was measured under the load of now.
        stop_s, load = (0.0, 1.0) if self.measured else (_STOP_AT_MOST_S, min(self.load, _MOST_PACE))
        return Estimate(self.start_s * starts * least, (self.start_s * most * load + stop_s) * starts)

    def observed_s(self, step: str) -> float:
        """Return how long the app is observed in a step after its first use."""
        return self.observe_s if step in (PRELOADED, WARM, RESTART) else 0.0

    def starts_of(self, step: str) -> int:
        """Return the number of starts of the app in a step."""
        return _STARTS[step] + (self.makes and step == WARM)


@dataclass(slots=True)
class ProofClock:
    """Which steps of a plan are done, how long each took, and how long the others will take."""

    plan: ProofPlan
    took: dict[str, list[float]] = field(default_factory=dict)
    _left: list[str] = field(init=False)
    _expected: float = 0.0
    _needed: float = 0.0

    def __post_init__(self) -> None:
        self._left = [step for round_ in range(1, self.plan.rounds + 1) for step in self.plan.steps(round_)]

    def ended(self, step: str, seconds: float) -> None:
        """Record that the next step, which must be `step`, took `seconds`."""
        expected = self._of(step).likely
        if expected:
            self._expected, self._needed = self._expected + expected, self._needed + seconds
        self._left.remove(step)
        self.took.setdefault(step, []).append(seconds)
        starts = self.plan.starts_of(step)
        # A cold start downloads, so that it says less than any other.
        if starts and not self.plan.measured and (step != COLD or not self.plan.pulls):
            start_s = max(0.0, seconds - self.plan.observed_s(step)) / starts
            self.plan = replace(self.plan, start_s=start_s, measured=True)

    def left(self, elapsed_s: float = 0.0) -> Estimate:
        """Return how many seconds are left, `elapsed_s` after the next step began."""
        return total(self._steps_left(elapsed_s))

    def _steps_left(self, elapsed_s: float) -> Iterator[Estimate]:
        for at, step in enumerate(self._left):
            yield self._of(step) if at else self._of(step).after(elapsed_s)

    def _of(self, step: str) -> Estimate:
        """Return the time of a step: as it took before, or as computed, and as much longer as the others were."""
        if times := self.took.get(step):
            return Estimate(min(times), max(times)).scaled(*_AGAIN)
        pace = (self._needed + _DAMPED_S) / (self._expected + _DAMPED_S)
        return self.plan.seconds(step).scaled(max(min(1.0, pace), 1 / _MOST_PACE), min(max(1.0, pace), _MOST_PACE))
