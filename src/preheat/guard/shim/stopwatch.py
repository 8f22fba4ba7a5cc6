"""Stopwatch: log when this Python started and how long each import took.

It wraps the function that CPython 3.8 and later calls for each import of a module that is not loaded yet (import.c and
importlib.import_module look it up by name). The cost is below a microsecond per module. The log is
PREHEAT_STOPWATCH/PID.imports, with one line per import in the order in which they finished: `name TAB depth TAB start
TAB stop TAB own`, in nanoseconds of CLOCK_MONOTONIC, which all processes share; `own` excludes nested imports. Lines
are written whenever an outermost import finishes, because the app may be killed at any time.
"""

from __future__ import annotations

import _frozen_importlib
import os
import sys
import threading
import time
from typing import Any, List


class _Running(threading.local):
    """The running imports of one thread, with the nanoseconds that nested imports took, and lines not yet written."""

    def __init__(self) -> None:
        self.inner: List[int] = []
        self.lines: List[str] = []


def watch(folder: str) -> None:
    """Start to log imports into `folder`; do nothing if it does not exist or this Python is not supported."""
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

    _frozen_importlib._find_and_load = timed  # type: ignore[attr-defined] # a private function


def _write(folder: str, lines: List[str]) -> None:
    """Append the lines in one write, so that those of threads and forked children do not interleave."""
    try:
        file = os.open(os.path.join(folder, "%d.imports" % os.getpid()), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _append(file, "".join(lines).encode("utf-8", "replace"))
        finally:
            os.close(file)
    except OSError:
        pass  # the app must not fail because it is measured


def _append(file: int, data: bytes) -> None:
    # write(2) of such a size waits for whoever counts connections (guard/kernel/seccomp.py), pwrite(2) does not. With
    # O_APPEND, Linux appends in any case.
    if sys.platform == "linux":
        os.pwrite(file, data, 0)
    else:
        os.write(file, data)
