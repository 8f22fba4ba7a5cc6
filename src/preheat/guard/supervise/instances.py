"""Instances: manage an app's instances: one that serves, one on standby, and those that drain."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Callable, NamedTuple

from preheat.guard.kernel.free_memory import free_memory
from preheat.guard.kernel.ports import port_taken
from preheat.guard.kernel.process_tree import family
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.model.wakeup import Bell
from preheat.guard.probes.probes import port_of
from preheat.guard.process.process import CannotRestore, CannotStart, Output
from preheat.guard.supervise.instance import Instance

if TYPE_CHECKING:
    from preheat.guard.memory_snapshot.memory_snapshots import MemorySnapshots
    from preheat.guard.memory_snapshot.restore import Restorable
    from preheat.guard.net.port_relay import Front
    from preheat.guard.witness.connections import Witness

_DRAIN_GLANCE_S = 0.1
_MARGIN = 1.1


class StandbyPolicy(NamedTuple):
    """Whether to keep a standby instance, and how long a replaced instance may drain its connections."""

    standby: bool = False
    drain_within_s: float = 30.0


class Instances:
    """Start, promote and end the instances of an app. Not thread-safe: only the supervisor's loop calls it.

    `say` is called with messages for the user.
    """

    def __init__(
        self,
        app: App,
        patience: RestartPolicy,
        terms: StandbyPolicy,
        bell: Bell,
        *,
        output: Output,
        witness: Witness | None,
        front: Front | None,
        hurry: Callable[[], bool],
        say: Callable[[str], None],
        memory: MemorySnapshots | None = None,
    ) -> None:
        self.serving: Instance | None = None
        self.starts = 0
        self._app = app
        self._patience = patience
        self._terms = terms
        self._bell = bell
        self._output = output
        self._witness = witness
        self._front = front
        self._hurry = hurry
        self._say = say
        self._memory = memory
        self._spare: Instance | None = None
        self._spare_failures = 0
        self._spare_not_before = 0.0
        self._renewing = False
        self._leaving: list[threading.Thread] = []
        self._closing = threading.Event()

    def spare_ready(self) -> bool:
        """Return whether a standby instance is ready."""
        return self._spare is not None and self._spare.ready()

    def start(self) -> Instance:
        """Promote the standby instance if it is ready, else restore or start a new one. Raise CannotStart."""
        if self._spare is not None and self._spare.ready():
            self.serving, self._spare = self._spare, None
        else:
            self._dismiss_spare()
            if not self._restore():
                self.serving = self._new()
        self.route()
        assert self.serving is not None
        return self.serving

    def freeze_soon(self, *, again: bool = False) -> bool:
        """Make a memory snapshot of the serving instance, which is ready; return whether one was begun.

        An instance that was restored has one already; it is replaced only with `again`.
        """
        serving = self.serving
        if self._memory is None or serving is None or (serving.saved_start_s and not again):
            return False
        from preheat.guard.memory_snapshot.freeze import Freezable

        start_s = serving.saved_start_s or (serving.ready_at() or serving.began) - serving.began
        process = serving.process
        if process.left:
            self._say("no memory snapshot: the command has ended, and the processes that it left have no common parent")
            return False
        code = self._memory.policy.code
        frozen = Freezable(process.pid, process.warden, serving.port or 0, start_s, process.pipes, code)
        return self._memory.freeze_soon(frozen, None if again else serving.app)

    def renew(self) -> None:
        """Request a planned restart: once a new instance is ready, it serves and the old one drains."""
        self._renewing = self.serving is not None and self._front is not None
        if self._renewing:
            # The user may have fixed the cause of earlier failures.
            self._spare_failures, self._spare_not_before = 0, 0.0

    def update(self, *, settled: bool) -> bool:
        """Update the route, the standby and the draining instances; return whether a new instance took over.

        `settled`: the serving instance is ready, so a standby may start to load.
        """
        self.route()
        self._leaving = [thread for thread in self._leaving if thread.is_alive()]
        if self._spare is not None and not self._spare.process.alive():
            self._lose_spare(self._spare, "ended before it was ready")
        elif self._spare is not None and self._late(self._spare):
            self._lose_spare(self._spare, f"was not ready within {self._patience.ready_within_s:.0f} s")
        if self._renewing and self._spare is not None and self._spare.ready():
            leaving, self.serving, self._spare = self.serving, self._spare, None
            self._renewing = False
            self.route()
            assert leaving is not None
            thread = threading.Thread(target=self._drain, args=(leaving,), name="drain", daemon=True)
            self._leaving.append(thread)
            thread.start()
            return True
        wanted = self._renewing or (self._terms.standby and settled and not self._leaving)
        if wanted and self._spare is None and time.monotonic() >= self._spare_not_before:
            self._start_spare()
        return False

    def route(self) -> None:
        """Route new connections to the serving instance if it is ready, else to the waiting page."""
        if self._front is not None:
            serving = self.serving
            self._front.route(serving.port if serving is not None and serving.ready() else None)

    def end_serving(self) -> None:
        """Stop the serving instance and its remaining processes."""
        if self._front is not None:
            self._front.route(None)
        if self.serving is not None:
            self.serving.end(self._patience.stop_within_s, self._hurry)

    def end(self) -> None:
        """Stop all instances, in parallel."""
        self._closing.set()
        if self._memory is not None:
            self._memory.stop()
        others = []
        if self._spare is not None:
            ends = (self._patience.stop_within_s, self._hurry)
            others.append(threading.Thread(target=self._spare.end, args=ends, name="end", daemon=True))
            others[0].start()
        self.end_serving()
        for thread in (*others, *self._leaving):
            thread.join()
        if self._memory is not None:
            self._memory.wait()

    def next_look_s(self) -> float:
        """Return the maximum number of seconds until the next call of `update`."""
        return 0.2 if self._renewing or self._leaving else 1.0 if self._terms.standby else 3600.0

    def _new(self) -> Instance:
        port = None if self._front is None else self._front.free_port()
        return self._instance(port)

    def _restore(self) -> bool:
        """Try to restore the app from a memory snapshot as the serving instance; return whether it works."""
        found = self._memory.find() if self._memory is not None else None
        if self._memory is None or found is None:
            return False
        began = time.monotonic()
        try:
            with self._memory.alone():
                holder = port_taken(found.saved.port or port_of(self._app.ready) or 0)
                if holder is not None:
                    # CRIU would bind the port nevertheless, and both apps would get connections.
                    self._say(f"memory snapshot not used: {holder}; the app is started as usual")
                    return False
                self.serving = self._instance(found.saved.port or None, found)
        except (CannotRestore, CannotStart, OSError, RuntimeError) as error:
            self._memory.discard(str(error))
            return False
        fault = self._memory.fault(self.serving.app, self._restored_ready, self._hurry)
        if fault:
            self.end_serving()
            self._memory.discard(fault)
        else:
            took_s = time.monotonic() - began
            self._say(f"restored from memory in {took_s:.1f} s; its start had taken {found.saved.start_s:.1f} s")
        return not fault

    def _restored_ready(self) -> bool:
        self.route()  # its first use may come through the front
        return self.serving is not None and self.serving.ready()

    def _instance(self, port: int | None, saved: Restorable | None = None) -> Instance:
        self.starts += 1
        return Instance(
            self._app,
            port,
            output=self._output,
            witness=self._witness,
            ring=self._bell.ring,
            ask_every_s=self._patience.ask_every_s,
            say=self._say,
            saved=saved,
        )

    def _start_spare(self) -> None:
        short = "" if self._renewing else self._too_little_memory()
        if short:
            self._spare_not_before = time.monotonic() + 60.0
            self._say(short)
            return
        try:
            self._spare = self._new()
        except (CannotStart, OSError, RuntimeError) as error:
            # The system may be out of processes, threads or descriptors; the serving instance continues.
            self._give_up_renewal(str(error))
            self._spare_not_before = time.monotonic() + self._patience.backoff_at_most_s

    def _late(self, spare: Instance) -> bool:
        return not spare.ready() and time.monotonic() - spare.began > self._patience.ready_within_s

    def _lose_spare(self, spare: Instance, how: str) -> None:
        spare.end(0.0, self._hurry)
        self._spare = None
        self._spare_failures += 1
        self._spare_not_before = time.monotonic() + self._patience.backoff(self._spare_failures)
        if 0 <= self._patience.max_restarts < self._spare_failures:
            self._spare_not_before = float("inf")
        self._give_up_renewal(f"the new instance {how}")

    def _give_up_renewal(self, why: str) -> None:
        what = "planned restart cancelled" if self._renewing else "no standby"
        self._renewing = False
        self._say(f"{what}: {why}")

    def _dismiss_spare(self) -> None:
        if self._spare is not None:
            # The serving instance died while this one was still loading: end it, so that it does not slow the restart.
            self._spare.end(0.0, self._hurry)
            self._spare = None

    def _too_little_memory(self) -> str:
        assert self.serving is not None
        needed = sum(member.resident for member in family(self.serving.process.main)) * _MARGIN
        free = free_memory()
        return "" if free >= needed else f"no standby: needs {needed / 1e6:.0f} MB, but {free / 1e6:.0f} MB are free"

    def _drain(self, leaving: Instance) -> None:
        """Wait until an instance has no connections, or its time is over, then stop it."""
        deadline = time.monotonic() + self._terms.drain_within_s
        front, port = self._front, leaving.port
        if front is not None and port is not None:
            while front.connections(port) and time.monotonic() < deadline and not self._closing.is_set():
                self._closing.wait(_DRAIN_GLANCE_S)
        leaving.end(self._patience.stop_within_s, self._hurry)
        self._bell.ring()
