"""Count the work of a call: function calls and file operations, so that growth shows without a clock."""

import builtins
import io
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

# Above this exponent the cost grows faster than the work.
STEEPEST = 1.15
# File operations of `os`: on a network share, each call is at least one round trip.
_OPERATIONS = {
    "opens": ("open",),
    "stats": ("stat", "lstat", "access", "readlink"),
    "listings": ("scandir", "listdir"),
    "fsyncs": ("fsync", "fdatasync"),
    "changes": ("rename", "replace", "link", "symlink", "unlink", "mkdir", "rmdir", "utime"),
}


def calls_of(work: Callable[[], object]) -> int:
    """Run `work` in this thread and return how many functions it called, Python's and C's."""
    return sum(named_calls_of(work).values())


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


@contextmanager
def operations(below: Path = Path("/"), *, shared: bool = False) -> Iterator[Counter[str]]:
    """Count the operations of all threads on files inside `below`, in the block.

    With `shared`, count as an NFS client asks the server: it caches attributes for seconds, but opens a file each time.
    """
    count: Counter[str] = Counter()
    known: set[str] = set()
    before: list[tuple[Any, str, Any]] = []

    def counted(act: Callable[..., object], kind: str) -> Callable[..., object]:
        def call(*words: Any, **options: Any) -> object:
            place = words[0] if words else ""
            named = isinstance(place, str | bytes | os.PathLike)
            if not named or (_is_in(place, below) and not (shared and kind == "stats" and str(place) in known)):
                count[kind] += 1
                known.add(str(place))
            return act(*words, **options)

        return call

    targets = [(os, name, kind) for kind, names in _OPERATIONS.items() for name in names]
    targets += [(io, "open", "opens"), (builtins, "open", "opens")]
    try:
        for module, name, kind in targets:
            act = getattr(module, name)
            before.append((module, name, act))
            setattr(module, name, counted(act, kind))
        yield count
    finally:
        for module, name, act in before:
            setattr(module, name, act)


def grows_as_the_work(small: int, large: int, times: int) -> bool:
    """Return whether the cost grows at most in proportion: `large` is for `times` the work of `small`."""
    return bool(large <= small * times**STEEPEST)


def _is_in(place: Any, below: Path) -> bool:
    return Path(os.fsdecode(place)).absolute().is_relative_to(below)
