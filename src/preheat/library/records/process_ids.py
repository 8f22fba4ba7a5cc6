"""Process IDs: names of processes that are unique on all machines, and whether such a process still runs."""

import functools
import os
from pathlib import Path


def process_id(pid: int | None = None) -> str:
    """Return a unique ID of a process, of this one by default: boot ID, PID namespace, PID and start time."""
    number = os.getpid() if pid is None else pid
    try:
        text = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
        started = text.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = "?"
    return f"{kernel()} {number} {started}"


def is_running(process: str) -> bool | None:
    """Return whether a process runs; None if its ID is of another machine, boot or PID namespace."""
    if not process.startswith(f"{kernel()} "):
        return None
    return process_id(pid_of(process)) == process


def pid_of(process: str) -> int:
    """Return the PID in an ID; 0 if there is none."""
    number = process.split(" ")[-2] if process.count(" ") >= 2 else ""
    return int(number) if number.isdecimal() and len(number) < 10 else 0


@functools.cache
def kernel() -> str:
    """Return the boot ID and the PID namespace, in which a PID is unique; elsewhere than on Linux the host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return os.uname().nodename
