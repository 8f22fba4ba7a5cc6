"""Timed: one run of a program, with its time, CPU and memory."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of a program; CPU and memory are those of it and its waited-for children."""

    status: int
    seconds: float
    cpu_s: float
    peak_rss: int
    said: str


def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    log: Path,
    within_s: float,
    enough: Callable[[], bool] = lambda: False,
) -> Spent:
    """Run a command until it ends; kill it and its group after `within_s`, or when `enough()` is true."""
    with open(log, "wb") as out:
        begun = time.monotonic()
        child = subprocess.Popen(
            list(command), env=dict(environ), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        _prefer(child.pid)
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(child.pid, ended, begun + within_s, enough))
        watch.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begun
        child.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for: Popen need not
        ended.set()
        watch.join()
    said = log.read_bytes()[-4000:].decode(errors="replace")
    return Spent(child.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said)


def _prefer(process: int) -> None:
    """Give the process's new session this process's priority: the kernel schedules sessions as groups (sched(7))."""
    priority, group = os.getpriority(os.PRIO_PROCESS, 0), Path(f"/proc/{process}/autogroup")
    if priority < 0 and group.exists():
        group.write_text(str(priority))


def _watch(child: int, ended: threading.Event, deadline: float, enough: Callable[[], bool]) -> None:
    while not ended.wait(0.005):
        if time.monotonic() > deadline or enough():
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:
                return
            ended.wait()
