"""Process: one start of an app, until the last of its processes has ended."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Callable, NamedTuple

from preheat.guard.kernel import process_tree
from preheat.guard.model.app import App
from preheat.guard.model.tail import Tail
from preheat.guard.model.wakeup import Ring, silent
from preheat.guard.process.output_pump import pump
from preheat.guard.process.spawn import CannotRestore, CannotStart, StartedApp, spawn
from preheat.guard.process.warden import FAILED, LEFT

if TYPE_CHECKING:
    from preheat.guard.memory_snapshot.restore import Restorable
    from preheat.guard.net.network_namespace import Inlet, Publisher
    from preheat.guard.witness.connections import Witness
    from preheat.guard.witness.download_lines import DownloadLines

__all__ = ["CannotRestore", "CannotStart", "Output", "Process"]

_GLANCE_S = 0.02
_KILL_S = 5.0
_WARDEN_S = 0.001


class Output(NamedTuple):
    """The descriptors to which an app's output is copied unchanged; None only stores it in the tail.

    `download_lines`, if given, receives the output too.
    """

    stdout: int | None = 1
    stderr: int | None = 2
    download_lines: DownloadLines | None = None


def _never() -> bool:
    return False


class Process:
    """A running app in its own session and process group, with a warden that kills it if the guard dies.

    It is started, or restored if there is a `saved` one. Raise CannotStart if the command cannot be started,
    CannotRestore if the saved one cannot be restored, OSError if `witness` cannot observe it. Always call `stop`, even
    after the app has ended: it ends the remaining child processes. A thread calls `on_end` when the app has ended, and
    when its command has ended but `left` processes that go on. `failure` is the last status other than 0 with which one
    of these has ended so far. `stopping`: `stop` was called.
    """

    def __init__(
        self,
        app: App,
        *,
        output: Output = Output(),  # noqa: B008 - frozen
        witness: Witness | None = None,
        on_end: Ring = silent,
        saved: Restorable | None = None,
    ) -> None:
        self.app = app
        self._saved = saved
        self.tail = Tail()
        self._witness = witness
        self._download_lines = output.download_lines
        self._on_end = on_end
        self._status: int | None = None
        self.left = False
        self.failure = 0
        self.stopping = False
        self._ended = threading.Event()
        self._dismissed = False
        self._pumps: list[threading.Thread] = []
        # Start the app from a separate thread: a witness's filter covers one thread and the processes started from it.
        started: list[StartedApp | BaseException] = []
        answered = threading.Event()
        self._keeper = threading.Thread(target=self._keep, args=(started, answered), name="keeper", daemon=True)
        self._keeper.start()
        answered.wait()
        child = started[0]
        if isinstance(child, BaseException):
            raise child
        self.pid = child.pid
        self.warden = child.warden
        self.pipes = [os.readlink(f"/proc/self/fd/{pipe}") for pipe in (child.stdout, child.stderr)]
        self._child = child.child
        self._enclosure = child.enclosure
        self._line = child.line
        self._inlet: Inlet | None = None
        self._publisher = self._published(child)
        # Start the pumps here, because threads of the keeper would inherit the witness's filter.
        for pipe, target in ((child.stdout, output.stdout), (child.stderr, output.stderr)):
            thread = threading.Thread(target=self._copy_output, args=(pipe, target), name="pump", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self.stop(0.0)
                raise
            self._pumps.append(thread)

    def alive(self) -> bool:
        """Return whether the app runs: the started process or, if it has `left` others, the last of these."""
        return not self._ended.is_set()

    @property
    def status(self) -> int | None:
        """The exit status, -N if signal N killed the process, or None while the app runs."""
        return self._status

    def wait(self, within_s: float | None = None) -> bool:
        """Wait for the process to end, at most `within_s` seconds; return whether it has ended."""
        return self._ended.wait(within_s)

    @property
    def main(self) -> int:
        """The PID of the app's main process: the started one or, if it has `left` others, the oldest of these."""
        mains = [one for one in self._left() if one.parent == self.warden] if self.left else []
        return min(mains, key=lambda one: one.started).pid if mains else self.pid

    def pids(self) -> set[int]:
        """Return the PIDs of all live processes of the app."""
        return {member.pid for member in self._left()}

    def signal(self, number: int) -> None:
        """Send a signal to the app's process group, and to descendants that left the group."""
        # The app is reaped only when it is dismissed, so its process group ID cannot be reused before; but a command
        # that left others is reaped at once.
        if not self._dismissed:
            alone = self.left
            if not alone:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, number)
            for member in self._left():
                if alone or member.group != self.pid:
                    with suppress(ProcessLookupError, PermissionError):
                        os.kill(member.pid, number)

    def stop(self, within_s: float = 10.0, hurry: Callable[[], bool] = _never) -> None:
        """Stop the app and all its processes: send SIGTERM, wait up to `within_s` or until `hurry`, send SIGKILL."""
        self.stopping = True
        if not self._dismissed:
            deadline = time.monotonic() + within_s
            self.signal(signal.SIGTERM)
            self._wait_for_end(deadline, hurry)
            self.signal(signal.SIGKILL)
            self._wait_for_end(time.monotonic() + _KILL_S, _never)
            self._dismissed = True
            if self._publisher is not None:
                self._publisher.close()
            if self._inlet is not None:
                self._inlet.close()
            os.close(self._line)
            self._dismiss_warden()
            self._keeper.join()
        for thread in self._pumps:
            # A process that survived may keep the pipe open; do not wait for it.
            thread.join(1.0)

    def _dismiss_warden(self) -> None:
        """Wait until the warden has killed what was left; do not wait long for processes that cannot be killed now."""
        deadline = time.monotonic() + _KILL_S
        while not os.waitpid(self._child, os.WNOHANG)[0]:
            if time.monotonic() > deadline:
                threading.Thread(target=os.waitpid, args=(self._child, 0), daemon=True).start()
                break
            time.sleep(_WARDEN_S)
        # Also if the app has killed its warden.
        self._enclosure.end()

    def _published(self, child: StartedApp) -> Publisher | None:
        """Publish the port of the app's readiness probe, if the app runs in its own network namespace."""
        if child.door is None:
            return None
        from preheat.guard.net.network_namespace import Inlet, NamespacePort, Publisher
        from preheat.guard.probes.probes import port_of

        door = NamespacePort(child.door)
        if self.app.reaches:
            self._inlet = Inlet(door, self.app.reaches)
        port = port_of(self.app.ready) if self.app.ready else None
        if port is None:
            door.close()
            return None
        return Publisher(door, child.warden, port)

    def _left(self) -> list[process_tree.ProcessStat]:
        """List the app's live processes: all descendants of its warden."""
        return [member for member in process_tree.family(self.warden) if member.pid != self.warden and not member.dead]

    def _wait_for_end(self, deadline: float, hurry: Callable[[], bool]) -> None:
        while time.monotonic() < deadline and not hurry() and (self.alive() or self._left()):
            self._ended.wait(_GLANCE_S) if self.alive() else time.sleep(_GLANCE_S)

    def _keep(self, answer: list[StartedApp | BaseException], answered: threading.Event) -> None:
        try:
            if self._witness is not None:
                self._witness.cover_this_thread()
            started = spawn(self.app, self._saved)
        except BaseException as error:  # noqa: BLE001 - the constructor raises it
            answer.append(error)
            answered.set()
            return
        answer.append(started)
        answered.set()
        # A report that ends before the app means that the warden was killed; the kernel then kills the app.
        status = -signal.SIGKILL
        with open(started.report, "rb") as report:
            for line in report:
                kind, *values = line.split()
                if kind == LEFT:
                    self.left = True
                    self._on_end()
                elif kind == FAILED:
                    self.failure = int(values[0])
                else:
                    status = int(kind)
                    break
        self._status = status
        self._ended.set()
        self._on_end()

    def _received(self, pipe: int, chunk: bytes) -> None:
        self.tail.feed(pipe, chunk)
        if self._download_lines is not None:
            self._download_lines.feed(pipe, chunk)

    def _copy_output(self, pipe: int, target: int | None) -> None:
        try:
            pump(pipe, target, partial(self._received, pipe))
        finally:
            os.close(pipe)
