"""Life: the state of an app and the next action; pure, the time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from preheat.guard.model.exit_words import describe_exit

State = Literal["stopped", "starting", "running", "backoff", "fatal"]
Action = Literal["nothing", "start", "stop", "restart"]


@dataclass(frozen=True)
class RestartPolicy:
    """How long to wait for an app, and how often to try again.

    Waits between starts double from `backoff_s` to `backoff_at_most_s`, less a part of chance, at most `jitter`, so
    that many that fell at once do not rise at once. What was ready for `steady_after_s` without a break has all its
    restarts back; `max_restarts` below 0 is no limit. A start-up that fails `same_failures` times in a row in the
    same way will fail again, and is given up however many restarts are left. What was ready and then is silent for
    `hang_after_s` (0: never) is stopped as if it had died; it is asked every `ask_every_s`.
    """

    ready_within_s: float = 600.0
    stop_within_s: float = 10.0
    max_restarts: int = 3
    steady_after_s: float = 30.0
    backoff_s: float = 1.0
    backoff_at_most_s: float = 30.0
    jitter: float = 0.2
    same_failures: int = 3
    hang_after_s: float = 0.0
    ask_every_s: float = 5.0

    def spent(self, restarts: int) -> bool:
        """Whether no restart is left when `restarts` were made."""
        return 0 <= self.max_restarts <= restarts

    def backoff(self, restarts: int) -> float:
        """Say how long to wait when `restarts` restarts are already spent."""
        # The exponent is bounded so that the power stays a float.
        return float(min(self.backoff_s * 2.0 ** min(restarts, 64), self.backoff_at_most_s))


@dataclass(frozen=True)
class LifeSigns:
    """What was seen of the app just now.

    `status` is how it ended, once it has (-N for signal N), `cause` why, where that is known, and `likeness` is the
    same for two ends of one kind; `cannot_start` says why there is no such process at all. `silent_s`: for how long it
    has not said that it is alive. `spare`: another one is ready and stands by. `chance` is between 0 and 1.
    """

    alive: bool
    ready: bool = False
    status: int = 0
    cannot_start: str = ""
    cause: str = ""
    likeness: str = ""
    silent_s: float = 0.0
    spare: bool = False
    chance: float = 0.0


@dataclass(frozen=True)
class Life:
    """A state, since when (for running: ready since when, without a break), and why.

    `restarts` counts those spent since the app was last steady, `starts` all of them; `until` ends a backoff. The last
    `failures` starts failed before the app was ready, all with the same `likeness`.
    """

    state: State = "stopped"
    since: float = 0.0
    detail: str = ""
    restarts: int = 0
    starts: int = 0
    until: float = 0.0
    failures: int = 0
    likeness: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing will be done any more."""
        return self.state == "fatal" or (self.state == "stopped" and self.starts > 0)


def step(life: Life, look: LifeSigns, now: float, patience: RestartPolicy) -> tuple[Life, Action]:
    """Decide where the app stands now, and what to do about it."""
    if life.over:
        return life, "nothing"
    if life.state == "stopped":
        return _start(life, now), "start"
    if life.state == "backoff":
        return (_start(life, now), "start") if now >= life.until else (life, "nothing")
    if life.state == "running" and now - life.since >= patience.steady_after_s:
        life = replace(life, restarts=0)
    if not look.alive:
        return _fallen(life, look, now, patience)
    if life.state == "running" and 0 < patience.hang_after_s <= look.silent_s:
        ending = f"alive, but silent for {look.silent_s:.0f} s"
        life, action = _again(life, look, now, patience, ending)
        return life, "restart" if action == "start" else "stop"
    if life.state == "running":
        return (life if look.ready else replace(life, since=now)), "nothing"
    if look.ready:
        return replace(life, state="running", since=now, detail=f"ready after {now - life.since:.1f} s"), "nothing"
    if now - life.since >= patience.ready_within_s:
        detail = f"not ready within {patience.ready_within_s:g} s"
        return replace(life, state="fatal", since=now, detail=detail), "stop"
    return life, "nothing"


def stopped(life: Life, now: float, why: str) -> Life:
    """End a life from outside."""
    return replace(life, state="stopped", since=now, detail=why)


def _start(life: Life, now: float) -> Life:
    starts = life.starts + 1
    return replace(life, state="starting", since=now, starts=starts, detail="" if starts == 1 else f"start {starts}")


def _fallen(life: Life, look: LifeSigns, now: float, patience: RestartPolicy) -> tuple[Life, Action]:
    if look.cannot_start:
        # It would fail the same way each time.
        return replace(life, state="fatal", since=now, detail=look.cannot_start), "nothing"
    ending = describe_exit(look.status, look.cause)
    if look.status == 0 or patience.max_restarts == 0:
        # Ready or not, an app that ends well has chosen to end; and so has one that nobody wants started again.
        return replace(life, state="stopped", since=now, detail=ending), "nothing"
    if life.state == "starting":
        alike = life.failures + 1 if look.likeness and look.likeness == life.likeness else 1
        life = replace(life, failures=alike, likeness=look.likeness)
        if look.likeness and alike >= patience.same_failures:
            detail = f"{ending}; {alike} times in a row, in the same way, before it was ready"
            return replace(life, state="fatal", since=now, detail=detail), "nothing"
    return _again(replace(life, failures=0) if life.state == "running" else life, look, now, patience, ending)


def _again(life: Life, look: LifeSigns, now: float, patience: RestartPolicy, ending: str) -> tuple[Life, Action]:
    if patience.spent(life.restarts):
        spent = f"{ending}; started {life.starts} times" if life.starts > 1 else ending
        return replace(life, state="fatal", since=now, detail=spent), "nothing"
    life = replace(life, restarts=life.restarts + 1)
    if look.spare:
        return replace(_start(life, now), detail=f"{ending}; the one that stood by takes over"), "start"
    wait_s = patience.backoff(life.restarts - 1) * (1 - patience.jitter * look.chance)
    return replace(
        life, state="backoff", since=now, until=now + wait_s, detail=f"{ending}; starts again in {wait_s:.2g} s"
    ), "nothing"
