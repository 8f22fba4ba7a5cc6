"""PID 1: reap orphans and forward signals when the guard is a container's first process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def leave_process_1() -> None:
    """Continue in a child process if this process is PID 1; otherwise do nothing.

    PID 1 then only reaps orphans, forwards signals, and exits with the child's status. Call before any thread starts.
    """
    if os.getpid() == 1:
        part()


def part() -> None:
    """Fork and return in the child; the parent reaps orphans, forwards signals, and exits with the child's status."""
    # Block the signals before the fork, so that none is lost before sigwait.
    watched = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        # The kernel ignores default signal actions for PID 1, so no other signal can end it.
        number = signal.sigwait(watched)
        if number != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.kill(child, number)
            continue
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == child:
                    # The kernel kills all remaining processes when PID 1 exits: pid_namespaces(7).
                    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
