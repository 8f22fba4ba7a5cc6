"""Proof plan: the starts and downloads of a proof, the space that they need, and how long they will take; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from statistics import mean

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


@dataclass(frozen=True, slots=True)
class ProofPlan:
    """A proof of `rounds` rounds under `conditions`. `size`: the bytes that one download fetches.

    `start_s`: how long a start takes, as far as known; `one` and `many`: the rates of the line in bytes per second over
    one connection, as apps download, and over many. `observe_s`: how long an offline start is observed after first use.
    `makes`: the recipe has made files, without which one warm start a round is timed too.
    """

    rounds: int
    conditions: tuple[str, ...]
    size: int
    start_s: float | None = None
    one: float | None = None
    many: float | None = None
    observe_s: float = 0.0
    makes: bool = False

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
        return sum(self._starts(step) for round_ in range(1, self.rounds + 1) for step in self.steps(round_))

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

    def seconds(self, step: str) -> float | None:
        """Return how long a step will take, or None if it is not known."""
        rate = {COLD: self.one, PULL: self.many}.get(step)
        if step in (COLD, PULL) and not rate:
            return None
        downloading = self.size / rate if rate else 0.0
        starts = _BARE_STARTS if step == LIMITS else self._starts(step)
        if starts and self.start_s is None:
            return None
        observed = self.observe_s if step in (PRELOADED, WARM, RESTART) else 0.0
        return downloading + starts * (self.start_s or 0.0) + observed

    def _starts(self, step: str) -> int:
        return _STARTS[step] + (self.makes and step == WARM)


@dataclass(slots=True)
class ProofClock:
    """Which steps of a plan are done, how long each took, and how long the others will take."""

    plan: ProofPlan
    took: dict[str, list[float]] = field(default_factory=dict)
    _left: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._left = [step for round_ in range(1, self.plan.rounds + 1) for step in self.plan.steps(round_)]

    def ended(self, step: str, seconds: float) -> None:
        """Record that the next step, which must be `step`, took `seconds`."""
        self._left.remove(step)
        self.took.setdefault(step, []).append(seconds)
        if step == REHEARSAL:
            self.plan = replace(self.plan, start_s=seconds)

    @property
    def left_s(self) -> float | None:
        """Return how many seconds are left, or None if that is not known yet."""
        known = list(self._known())
        return None if None in known else sum(one for one in known if one is not None)

    def _known(self) -> Iterator[float | None]:
        measured: Mapping[str, float] = {step: mean(times) for step, times in self.took.items()}
        for step in self._left:
            yield measured.get(step, self.plan.seconds(step))
