"""Warden: the process between guard and app; it kills the app's processes when the guard is gone.

It is the app's parent and adopts the app's orphans as a subreaper (PR_SET_CHILD_SUBREAPER): a daemonised grandchild
becomes a child of the warden, not of init. It reports the app's end over a pipe, and runs until its pipe to the guard
is closed: by the guard after a stop, or by the kernel when the guard was killed.

A command that ends with status 0 and leaves processes running, as `python app.py &` in a script does, has only launched
the app: the app's end is then the end of the last of these processes.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Callable

from preheat.guard.kernel import process_tree

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS, _REST_S = 500, 0.05
LEFT, FAILED = b"left", b"failed"  # begin the lines of a report that are not the app's end
_ARG_START = 45  # of proc_pid_stat(5), counted from the state


def adopt_orphans() -> None:
    """Make this process the subreaper that adopts its orphaned descendants. Only on Linux; elsewhere do nothing."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent process, `parent`, dies. Only on Linux."""
    if _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) and os.getppid() != parent:
        # The parent died before the call.
        os.kill(os.getpid(), signal.SIGKILL)


def watch(app: int, line: int, report: int, clear: Callable[[], None], other: int = 0) -> None:
    """Run as the warden of the child process `app`, until EOF on `line`. Never returns.

    Write the app's status to `report` when it ends; at EOF, call `clear`, which kills all remaining processes. `other`
    is a child process that is not the app's, 0 for none.
    """
    try:
        # This process has copies of the guard's objects: their finalisers must not run twice.
        gc.disable()
        _keep_only(line, report)
        _set_name(f"preheat: supervises {app}")
        woken, waker = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(waker, False)
        _ignore_signals()
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker)
        waiting = select.poll()
        for end in (line, woken):
            waiting.register(end, select.POLLIN)
        children = _Children(app, report, other)
        while True:
            children.reap()
            happened = [end for end, _ in waiting.poll()]
            if line in happened:
                break
            with suppress(BlockingIOError):
                os.read(woken, 4096)
        clear()
    finally:
        os._exit(0)


def stand_by(first: int) -> None:
    """Wait for the child process `first`, the warden in a PID namespace of its own. Never returns."""
    try:
        gc.disable()
        _keep_only()
        _set_name(f"preheat: waits for {first}")
        _ignore_signals()
        os.waitpid(first, 0)
    finally:
        os._exit(0)


class _Children:
    """The children of this process: the app, the orphans that it left, and `other`, which is not the app's.

    Reports are lines: `left` when the app's command has ended and others go on, `failed STATUS` when one of these has
    ended with another status than 0, and at the end the app's status alone: the last of the failures, or 0.
    """

    def __init__(self, app: int, report: int, other: int) -> None:
        self._app = app
        self._report = report
        self._other = other
        self._left = self._over = False
        self._failure = 0

    def reap(self) -> None:
        """Reap children that have ended, and report what that means, until the app's end has been reported.

        An app that ends alone stays a zombie, so that its process group ID is not reused.
        """
        while not self._over:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                break
            if ended is None:
                break
            status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            if ended.si_pid == self._app and (status or not self._goes_on()):
                self._end(status)
                return
            os.waitpid(ended.si_pid, 0)
            if ended.si_pid == self._app:
                self._left = True
                self._tell(LEFT)
            elif self._left and status and ended.si_pid != self._other:
                self._failure = status
                self._tell(b"%s %d" % (FAILED, status))
        if self._left and not self._over and not self._goes_on():
            self._end(self._failure)

    def _goes_on(self) -> bool:
        """Return whether a child still runs, besides the app and the other one."""
        if self._other:
            members = process_tree.members()
            return any(
                m.parent == os.getpid() and m.pid not in (self._app, self._other) and not m.dead for m in members
            )
        try:
            # Ended children cannot stop, so this is an error if there are no others. It works without /proc, which
            # shows another PID namespace than the warden's own.
            os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _end(self, status: int) -> None:
        self._over = True
        self._tell(b"%d" % status)

    def _tell(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(self._report, line + b"\n")


def sweep(app: int) -> None:
    """Kill all descendants of this process, until none is left."""
    me = os.getpid()
    rounds = 0
    while True:
        # Orphans are this process's children. A process that forks all the time is found only by looking all the time.
        children = process_tree.children(me)
        if children is None:
            # Without /proc, no descendants are found: kill the app's process group instead.
            children = [one.pid for one in process_tree.family(me) if one.pid != me and not one.dead] or [-app]
        for pid in children:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        rounds += 1
        if rounds % _ROUNDS == 0:
            time.sleep(_REST_S)  # for example for a process that waits for a disk


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def _keep_only(*kept: int) -> None:
    try:
        here = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        here = list(range(1024))
    for descriptor in here:
        if descriptor not in kept:
            with suppress(OSError):
                os.close(descriptor)
    for standard in (0, 1, 2):
        # Occupy the standard descriptors, so that no later open(2) returns one of them.
        with suppress(OSError):
            if standard not in kept:
                os.open(os.devnull, os.O_RDWR)


def _set_name(name: str) -> None:
    """Change the name that ps(1) shows, so that killing the guard by its command line does not match the warden."""
    if not _prctl(_PR_SET_NAME, b"preheat-warden"):
        return
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
        start, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
        if 0 < start < end:
            import ctypes

            room = end - start
            ctypes.memmove(start, name.encode()[: room - 1].ljust(room, b"\0"), room)


def _prctl(option: int, value: object) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes

    return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
