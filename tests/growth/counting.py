"""Count the work of a call: function calls made, Python's and C's, so that growth shows without a clock."""

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType

# Above this exponent the cost grows faster than the work.
STEEPEST = 1.15


def calls_of(work: Callable[[], object]) -> int:
    """Run `work` in this thread and return how many functions it called."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def named_calls_of(work: Callable[[], object]) -> Counter[str]:
    """Run `work` in this thread and return how often it called each function, by the function's own name."""
    count: Counter[str] = Counter()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            count[frame.f_code.co_name] += 1
        elif event == "c_call":
            count[getattr(argument, "__name__", "")] += 1

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def grows_as_the_work(small: int, large: int, times: int) -> bool:
    """Return whether `large`, the cost of `times` as much work as `small` cost, stays below the steepest exponent."""
    return bool(large <= small * times**STEEPEST)
