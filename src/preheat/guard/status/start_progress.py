"""Start progress: estimate the progress of a start from the files that the app is known to read, in order."""

from __future__ import annotations

import os
from typing import Iterable, NamedTuple, Sequence, Tuple

from preheat.guard.kernel import process_tree
from preheat.guard.kernel.ports import open_links


class Step(NamedTuple):
    """A file that the app reads during its start, and its size in bytes."""

    path: str
    size: int


class Progress(NamedTuple):
    """The phase of a start, the percentage of known bytes loaded, and the seconds left; None where unknown."""

    phase: str
    percent: int | None = None
    eta_s: float | None = None


def steps(paths: Iterable[str]) -> Tuple[Step, ...]:
    """Return the real paths and sizes of the files that exist."""
    found = []
    for path in paths:
        real = os.path.realpath(path)
        try:
            found.append(Step(real, os.stat(real).st_size))
        except OSError:
            continue
    return tuple(found)


def reached(order: Sequence[Step], pid: int) -> int:
    """Return how many files of `order` the app has reached: up to the last one that it has open or mapped."""
    numbers = {step.path: number for number, step in enumerate(order, 1)}
    furthest = 0
    for member in process_tree.family(pid) if numbers else ():
        for path in (*process_tree.mapped_paths(member.pid), *open_links(member.pid)):
            furthest = max(furthest, numbers.get(path, 0))
    return furthest


def progress(order: Sequence[Step], come_to: int, since_s: float, earlier_s: Sequence[float]) -> Progress:
    """Return the progress of a start that has reached `come_to` files of `order` after `since_s` seconds.

    `earlier_s` are the durations of earlier starts; their median is the estimate for this start.
    """
    eta_s = max(0.0, sorted(earlier_s)[len(earlier_s) // 2] - since_s) if earlier_s else None
    whole = sum(step.size for step in order)
    if not whole:
        return Progress("starting", None, eta_s)
    if not come_to:
        return Progress("importing", 0, eta_s)
    behind = sum(step.size for step in order[: come_to - 1])
    return Progress(f"loading {os.path.basename(order[come_to - 1].path)}", behind * 100 // whole, eta_s)
