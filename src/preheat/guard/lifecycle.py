"""Life: where an app stands, and what is to be done next; a pure room, time comes in as an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from preheat.guard.ending import describe_exit

State = Literal["stopped", "starting", "running", "backoff", "fatal"]
Action = Literal["nothing", "start", "stop"]


@dataclass(frozen=True)
class Patience:
    """How long to wait for an app, and how often to try again.

    Waits between starts double from `backoff_s` to `backoff_at_most_s`. What was ready for `steady_after_s` without
    a break has all its restarts back.
    """

    ready_within_s: float = 600.0
    stop_within_s: float = 10.0
    max_restarts: int = 3
    steady_after_s: float = 30.0
    backoff_s: float = 1.0
    backoff_at_most_s: float = 30.0

    def backoff(self, restarts: int) -> float:
        """Say how long to wait when `restarts` restarts are already spent."""
        # The exponent is bounded so that the power stays a float.
        return float(min(self.backoff_s * 2.0 ** min(restarts, 64), self.backoff_at_most_s))


@dataclass(frozen=True)
class Look:
    """What was seen of the app just now.

    `status` is how it ended, once it has (-N for signal N); `cannot_start` says why there is no such process at all.
    """

    alive: bool
    ready: bool = False
    status: int = 0
    cannot_start: str = ""


@dataclass(frozen=True)
class Life:
    """A state, since when (for running: ready since when, without a break), and why.

    `restarts` counts those spent since the app was last steady, `starts` all of them; `until` ends a backoff.
    """

    state: State = "stopped"
    since: float = 0.0
    detail: str = ""
    restarts: int = 0
    starts: int = 0
    until: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing will be done any more."""
        return self.state == "fatal" or (self.state == "stopped" and self.starts > 0)


def step(life: Life, look: Look, now: float, patience: Patience) -> tuple[Life, Action]:
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
        return _fallen(life, look, now, patience), "nothing"
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


def _fallen(life: Life, look: Look, now: float, patience: Patience) -> Life:
    if look.cannot_start:
        # It would fail the same way each time.
        return replace(life, state="fatal", since=now, detail=look.cannot_start)
    ending = describe_exit(look.status)
    if look.status == 0 or patience.max_restarts == 0:
        # Ready or not, an app that ends well has chosen to end; and so has one that nobody wants started again.
        return replace(life, state="stopped", since=now, detail=ending)
    if life.restarts >= patience.max_restarts:
        spent = f"{ending}; started {life.starts} times" if life.starts > 1 else ending
        return replace(life, state="fatal", since=now, detail=spent)
    wait_s = patience.backoff(life.restarts)
    return replace(
        life,
        state="backoff",
        since=now,
        until=now + wait_s,
        restarts=life.restarts + 1,
        detail=f"{ending}; starts again in {wait_s:g} s",
    )
