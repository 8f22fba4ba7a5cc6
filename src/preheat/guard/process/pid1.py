"""PID 1: reap orphans and forward signals when the guard is a container's first process."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def leave_process_1() -> None:
    """Go on in a child when this is process 1, which then only reaps, passes signals on, and ends as the child does.

    To be called before any thread is started. Elsewhere it does nothing.
    """
    if os.getpid() == 1:
        part()


def part() -> None:
    """Fork: the child returns; the parent reaps for it, and ends as it ends."""
    # Blocked before the fork, so that a signal that comes at once is not lost, and waited for by name.
    watched = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        # Process 1 has no default actions, so nothing else can end it.
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
                    # All that is left dies with process 1: pid_namespaces(7).
                    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
