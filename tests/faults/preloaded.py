"""Disk faults by a preloaded library: chosen system calls of a process on chosen files fail or wait."""

import errno
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import HANGS_S, Preheat, Told


@dataclass(frozen=True, slots=True)
class Fault:
    """Calls on files whose path contains `part` fail, after the first `after` of them, `times` times or always.

    `call` is read, write, sync, open, create, link, rename or unlink; `action` is the number of an error, "kill", which
    makes the call the last thing that its process does, or "wait", of `after` milliseconds.
    """

    call: str
    action: int | str
    part: str
    after: int = 0
    times: int = 0


def slow_disk(part: str, wait_ms: int = 50) -> Fault:
    """Make each fsync and fdatasync take time."""
    return Fault("sync", "wait", part, after=wait_ms)


def unreadable(part: str) -> Fault:
    """Make reads of a file fail with EIO."""
    return Fault("read", errno.EIO, part)


def full_disk(part: str, after: int = 0) -> Fault:
    """Make a disk full after this many writes."""
    return Fault("write", errno.ENOSPC, part, after=after)


def killed(call: str, part: str, after: int = 0) -> Fault:
    """Kill the process at a call."""
    return Fault(call, "kill", part, after=after)


def faulty(preheat: Preheat, fault: Fault | Sequence[Fault], *words: str, within_s: float = HANGS_S) -> Told:
    """Run the command with these faults; it counts as hanging if it has not ended after `within_s`."""
    before = preheat.env
    preheat.env = before | preloaded(*([fault] if isinstance(fault, Fault) else fault))
    try:
        return preheat.start(*words).ended(within_s)
    finally:
        preheat.env = before


def preloaded(*faults: Fault) -> dict[str, str]:
    """Return the variables that give a process these faults; skip the test without a C compiler."""
    rules = (f"{one.call} {one.action} {one.after} {one.times} {one.part}" for one in faults)
    return {"LD_PRELOAD": _library("faults.c"), "FAULTS": "\n".join(rules)}


def wrong_clock(years: int) -> dict[str, str]:
    """Return the variables of a wall clock that is off by `years`; skip the test without a C compiler."""
    return {"LD_PRELOAD": _library("clock.c"), "CLOCK_OFF_S": str(years * 365 * 24 * 3600)}


@functools.cache
def _library(name: str) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("a C compiler is needed")
    made = Path(tempfile.mkdtemp(prefix="preheat-faults-")) / f"{name}.so"
    source = Path(__file__).with_name(name)
    words = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", os.fspath(made), os.fspath(source), "-ldl"]
    subprocess.run(words, check=True, capture_output=True)
    return os.fspath(made)
