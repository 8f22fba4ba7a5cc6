"""Cgroup: a control group (version 2) for one start of an app, whose processes the kernel kills all at once.

A process stays in its cgroup whatever it does to its parents, sessions and process groups, unless it may write to
another cgroup's `cgroup.procs`. Writing to `cgroup.kill` (Linux 5.14 and later) also kills processes that are being
forked at that moment. Root can create cgroups, and so can users to whom systemd has delegated one, such as those of a
desktop session or of a unit with `Delegate=yes`; most containers mount them read-only.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

_GONE_S = 5.0
_LOOK_S = 0.005


def create() -> str:
    """Create a cgroup below this process's own; return its folder, or "" if that or `cgroup.kill` is not available."""
    own = _own()
    # Moving a process requires write permission to the common ancestor, which is this process's cgroup.
    if not own or not os.access(f"{own}/cgroup.procs", os.W_OK):
        return ""
    try:
        folder = f"{own}/preheat-{os.urandom(6).hex()}"
        os.mkdir(folder, 0o700)
    except OSError:
        return ""
    # Below a cgroup for threads, no process can enter it ("domain invalid").
    if os.access(f"{folder}/cgroup.kill", os.W_OK) and _lines(f"{folder}/cgroup.type") == ["domain"]:
        return folder
    _remove(folder)
    return ""


def enter(folder: str) -> None:
    """Move this process, and the children it will start, to the cgroup. Raise OSError."""
    _write(f"{folder}/cgroup.procs", b"0")


def end(folder: str) -> None:
    """Kill all processes in the cgroup and remove it; do nothing if it was removed before."""
    deadline = time.monotonic() + _GONE_S
    with suppress(OSError):
        _write(f"{folder}/cgroup.kill", b"1")
    while not _remove(folder) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


def _own() -> str:
    """Return the folder of this process's cgroup of version 2, or "" if it is not mounted."""
    path = next((line[3:] for line in _lines("/proc/self/cgroup") if line.startswith("0::")), "")
    for line in _lines("/proc/self/mountinfo") if path else ():
        # mountinfo, proc_pid_mountinfo(5): id parent device root place options … - kind source options
        left, _, right = line.partition(" - ")
        root, place = [*left.split(" "), "", "", "", "", ""][3:5]
        root = root.rstrip("/")
        if right.startswith("cgroup2 ") and (path == root or path.startswith(f"{root}/")):
            return place + path[len(root) :].rstrip("/")
    return ""


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _remove(folder: str) -> bool:
    """Remove an empty cgroup; return whether it is gone. The kernel removes the files in it."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _write(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
