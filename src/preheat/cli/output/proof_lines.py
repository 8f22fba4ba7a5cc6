"""Proof lines: what a proof will do, is doing, and how long it will take."""

import math

from preheat.core.events import ProofPlanned, TrialProgress, TrialStarted
from preheat.core.units import say_count, say_size

_MINUTE_S, _HOUR_S = 60, 3600


def say_plan(plan: ProofPlanned) -> str:
    """Return what a proof will do, and how long it will take, as far as known."""
    size = say_size(plan.size)
    sizes = f"{size}, {say_size(plan.size * plan.downloads)} in all" if plan.downloads > 1 else size
    if plan.most_s is not None:
        how_long = say_between(plan.least_s, plan.most_s)
    else:
        least = f"at least {say_whole(plan.least_s)}; " if plan.least_s >= 1 else ""
        how_long = f"{least}how long is known after the first start"
    return f"{say_count(plan.starts, 'start')}, {say_count(plan.downloads, 'download')} of {sizes}; {how_long}"


def say_step(step: TrialStarted) -> str:
    """Return which step begins, and how much time is left."""
    return f"round {step.round} of {step.rounds}: {step.condition}{_left(step)}"


def say_trial(event: TrialProgress) -> str:
    """Return what a proof is doing, and since when."""
    fetched = "" if event.fetched is None else f", {say_size(event.fetched)} downloaded"
    return f"{event.app}: {event.doing} for {say_whole(event.seconds)}{fetched}{_left(event)}"


def say_between(least_s: float, most_s: float) -> str:
    """Return a range of times, rounded to what is worth reading: `2 to 5 min`."""
    if most_s < 2 * _MINUTE_S:
        unit, name = 1, "s"
    elif most_s < 2 * _HOUR_S:
        unit, name = _MINUTE_S, "min"
    else:
        unit, name = _HOUR_S, "h"
    least, most = math.floor(least_s / unit), math.ceil(most_s / unit)
    if least == most:
        return f"about {most} {name}"
    return f"{least} to {most} {name}" if least else f"at most {most} {name}"


def say_whole(seconds: float) -> str:
    """Format a time in whole seconds, for a countdown."""
    minutes, rest = divmod(math.ceil(seconds), _MINUTE_S)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _left(event: TrialStarted | TrialProgress) -> str:
    return "" if event.most_s is None else f"; {say_between(event.least_s, event.most_s)} left"
