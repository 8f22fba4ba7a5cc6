"""Process: one start of an app, from its first breath to the last of its group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Callable

from preheat.guard import kin
from preheat.guard.app import App
from preheat.guard.pump import pump
from preheat.guard.tail import Tail

if TYPE_CHECKING:
    from preheat.guard.network import Witness

NOT_EXECUTABLE, NOT_FOUND = 126, 127
_GLANCE_S = 0.02
_KILL_S = 5.0
_PR_SET_PDEATHSIG = 1


class CannotStart(Exception):
    """The command could not be started at all; `status` is what a shell would say of it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Output:
    """The descriptors that an app's words go to, untouched; None keeps them from sight, but not from the tail."""

    stdout: int | None = 1
    stderr: int | None = 2


def _never() -> bool:
    return False


class Process:
    """A running app, in a session and group of its own, that the kernel kills should the guard die.

    Raise CannotStart when there is no such command, OSError when `witness` cannot see. Call `stop` however it ended:
    it sees to what is left of the group.
    """

    def __init__(self, app: App, *, output: Output = Output(), witness: Witness | None = None) -> None:
        self.app = app
        self.tail = Tail()
        self.pid = 0
        self._witness = witness
        self._status: int | None = None
        self._ended = threading.Event()
        self._dismissed = threading.Event()
        self._pumps: list[threading.Thread] = []
        # A thread of its own starts the app and stays until it is gone: the kernel ties a child's parent-death signal,
        # and a witness's filter, to the thread that started it.
        born: SimpleQueue[subprocess.Popen[bytes] | BaseException] = SimpleQueue()
        self._keeper = threading.Thread(target=self._keep, args=(born,), name="keeper", daemon=True)
        self._keeper.start()
        child = born.get()
        if isinstance(child, BaseException):
            raise child
        self.pid = child.pid
        # Not from the keeper: they would inherit the witness's filter.
        for pipe, target in ((child.stdout, output.stdout), (child.stderr, output.stderr)):
            assert pipe is not None
            thread = threading.Thread(target=self._carry, args=(pipe, target), name="pump", daemon=True)
            self._pumps.append(thread)
            thread.start()

    def alive(self) -> bool:
        """Whether the started process itself has not ended."""
        return not self._ended.is_set()

    @property
    def status(self) -> int | None:
        """How it ended: its exit status, or -N when signal N ended it; None while it lives."""
        return self._status

    def wait(self, within_s: float | None = None) -> bool:
        """Wait until it ends; whether it did."""
        return self._ended.wait(within_s)

    def signal(self, number: int) -> None:
        """Send a signal to its whole group."""
        # Until it is dismissed it is not reaped, so its number is nobody else's.
        if not self._dismissed.is_set():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def stop(self, within_s: float = 10.0, hurry: Callable[[], bool] = _never) -> None:
        """End the whole group: ask it, wait for `within_s` or until `hurry`, then kill what is left."""
        deadline = time.monotonic() + within_s
        if not self._dismissed.is_set():
            self.signal(signal.SIGTERM)
            self._outwait(deadline, hurry)
            self.signal(signal.SIGKILL)
            self._outwait(time.monotonic() + _KILL_S, _never)
        self._dismissed.set()
        if self._ended.is_set():
            self._keeper.join()
        for thread in self._pumps:
            # Who left the group and still holds the pipe may speak on; nobody waits for it.
            thread.join(1.0)

    def _outwait(self, deadline: float, hurry: Callable[[], bool]) -> None:
        while time.monotonic() < deadline and not hurry() and (self.alive() or kin.group(self.pid)):
            self._ended.wait(_GLANCE_S) if self.alive() else time.sleep(_GLANCE_S)

    def _keep(self, born: SimpleQueue[subprocess.Popen[bytes] | BaseException]) -> None:
        try:
            if self._witness is not None:
                self._witness.cover_this_thread()
            child = _start(self.app)
        except BaseException as error:  # noqa: BLE001 - raised again where the process was asked for
            born.put(error)
            return
        born.put(child)
        if hasattr(os, "waitid"):
            # Seen, not reaped: as long as it is a zombie, its group's number cannot be given to others.
            seen = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            assert seen is not None
            self._status = seen.si_status if seen.si_code == os.CLD_EXITED else -seen.si_status
        else:
            self._status = child.wait()
        self._ended.set()
        self._dismissed.wait()
        child.wait()

    def _carry(self, pipe: IO[bytes], target: int | None) -> None:
        with pipe:
            pump(pipe.fileno(), target, partial(self.tail.feed, pipe.fileno()))


def _start(app: App) -> subprocess.Popen[bytes]:
    with ExitStack() as quiet:
        if sys.version_info >= (3, 12):
            # Python warns that a fork beside threads may hang on a lock of theirs; ours takes none before exec.
            quiet.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return subprocess.Popen(
                app.command,
                env=app.env,
                cwd=app.cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                preexec_fn=_last_will(),
            )
        except FileNotFoundError as error:
            missing = f"{error.filename} is not a folder" if error.filename == app.cwd else "there is no such command"
            raise CannotStart(f"{app.command[0]}: {missing}", NOT_FOUND) from error
        except OSError as error:
            raise CannotStart(f"{app.command[0]}: {error.strerror}", NOT_EXECUTABLE) from error


def _last_will() -> Callable[[], None] | None:
    """Make what the child does before it becomes the app: ask to be killed when the guard dies. None off Linux."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    guard = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            # It died before we could ask.
            os.kill(os.getpid(), signal.SIGKILL)

    return ask
