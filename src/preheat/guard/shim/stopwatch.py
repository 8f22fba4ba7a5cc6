"""Stopwatch: logs when this Python started and how long each import took, to measure a start.

It stands around the one function that every import of a module not yet loaded goes through, in CPython 3.8 and later
(import.c calls it by its name, importlib.import_module too). Two looks at the clock and one tuple a module: less than
a microsecond. What it notes goes to PREHEAT_STOPWATCH/PID.imports, a line for each import, in the order of their ends:
`name TAB depth TAB start TAB stop TAB own`, in nanoseconds of CLOCK_MONOTONIC, which all processes share; `own` is
without the imports inside it. Written whenever an outermost import ends, for an app may be killed at any time.
"""

from __future__ import annotations

import _frozen_importlib
import os
import sys
import threading
import time
from typing import Any, List


class _Running(threading.local):
    """The imports under way in one thread: for each, the nanoseconds that imports inside it took so far."""

    def __init__(self) -> None:
        self.inner: List[int] = []
        self.lines: List[str] = []


def watch(folder: str) -> None:
    """Begin to note, into `folder`; without it, or where this Python imports in another way, do nothing."""
    find_and_load = getattr(_frozen_importlib, "_find_and_load", None)
    if find_and_load is None or not os.path.isdir(folder):
        return
    now, running = time.monotonic_ns, _Running()
    _write(folder, ["# %d\t%s\n" % (now(), sys.executable)])

    def timed(name: str, import_: Any) -> Any:
        inner = running.inner
        inner.append(0)
        start = now()
        try:
            return find_and_load(name, import_)
        finally:
            stop = now()
            within = inner.pop()
            running.lines.append("%s\t%d\t%d\t%d\t%d\n" % (name, len(inner), start, stop, stop - start - within))
            if inner:
                inner[-1] += stop - start
            else:
                lines, running.lines = running.lines, []
                _write(folder, lines)

    _frozen_importlib._find_and_load = timed  # type: ignore[attr-defined] # what it is for


def _write(folder: str, lines: List[str]) -> None:
    """Append in one write, so that threads and forked children do not come between."""
    try:
        file = os.open(os.path.join(folder, "%d.imports" % os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(file, "".join(lines).encode("utf-8", "replace"))
        finally:
            os.close(file)
    except OSError:
        pass  # the app goes on, unmeasured
