"""Supervisor: start an app, watch it, restart it, and report how it ended."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Callable, NamedTuple, Union

from preheat.guard.kernel.ports import port_taken
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import shell_status
from preheat.guard.model.life import Life, LifeSigns, RestartPolicy, State, step, stopped
from preheat.guard.model.tail import Tail
from preheat.guard.model.wakeup import Bell
from preheat.guard.probes.probes import parse_probe, port_of
from preheat.guard.process.process import CannotStart, Output
from preheat.guard.status.app_status import AppStatus
from preheat.guard.supervise.idle_watch import IdleWatch
from preheat.guard.supervise.instances import Instances, StandbyPolicy
from preheat.guard.supervise.signals import Requests
from preheat.guard.systemd_notify import Systemd

if TYPE_CHECKING:
    from preheat.guard.memory_snapshot.memory_snapshots import MemorySnapshots
    from preheat.guard.net.port_relay import Front
    from preheat.guard.witness.connections import Witness

_TICK_S = 0.05
_NO_RESOURCES = 71  # EX_OSERR of sysexits.h
_SELDOM_S = 1.0


class Changed(NamedTuple):
    """The app's state changed to `life`; `detail` is the reason; `seconds` is the time since supervision began."""

    life: State
    detail: str
    seconds: float


class AppStarted(NamedTuple):
    """The app was started as process `pid`; `start` counts its starts from 1."""

    pid: int
    start: int


class Notice(NamedTuple):
    """A message for the user that is no state change."""

    words: str


Event = Union[Changed, AppStarted, Notice]


class Outcome(NamedTuple):
    """The result of a supervision.

    `status` is an exit status as in a shell: the app's own if it exited, 128+N if signal N killed it or made the guard
    stop it. `fatal`: the app could not be started, was not ready in time, or failed too often; `reason` is the cause.
    `tail` is the app's last output.
    """

    status: int
    fatal: bool
    reason: str
    tail: tuple[str, ...]
    starts: int


class SupervisorParts(NamedTuple):
    """Optional parts of a supervision: status, public port, standby policy, systemd's watchdog, memory snapshots."""

    app_status: AppStatus | None = None
    front: Front | None = None
    terms: StandbyPolicy = StandbyPolicy()
    systemd: Systemd = Systemd()
    memory: MemorySnapshots | None = None


def supervise(
    app: App,
    patience: RestartPolicy,
    on_event: Callable[[Event], None],
    *,
    witness: Witness | None = None,
    output: Output = Output(),  # noqa: B008 - frozen
    stop: Callable[[], bool] | None = None,
    parts: SupervisorParts = SupervisorParts(),  # noqa: B008 - frozen
) -> Outcome:
    """Run an app and restart it after crashes, until it exits, the guard gives up, or a signal or `stop` ends it.

    With a front, SIGHUP triggers a planned restart; without one it stops the app. Raise ValueError if a probe is
    invalid. Signals are handled only if this is called on the main thread. `on_event` is called from this thread.
    """
    bell = Bell()
    try:
        with Requests(bell, renews=parts.front is not None) as requests:
            supervision = _Supervision(app, patience, on_event, output, witness, requests, bell, parts)
            try:
                return supervision.run(stop)
            finally:
                supervision.end()
    finally:
        bell.close()


class _Supervision:
    """The supervisor's loop: observe the app, compute the next state, act."""

    def __init__(
        self,
        app: App,
        patience: RestartPolicy,
        on_event: Callable[[Event], None],
        output: Output,
        witness: Witness | None,
        requests: Requests,
        bell: Bell,
        parts: SupervisorParts,
    ) -> None:
        self._app = app
        self._patience = patience
        self._on_event = on_event
        self._requests = requests
        self._bell = bell
        self._front = parts.front
        self._systemd = parts.systemd
        self._app_status = parts.app_status or AppStatus("")
        self._began = time.monotonic()
        self._life = Life()
        self._cannot_start: CannotStart | None = None
        self._failed: LifeSigns | None = None
        self._instances = Instances(
            app,
            patience,
            parts.terms,
            bell,
            output=output,
            witness=witness,
            front=self._front,
            hurry=requests.hurry,
            say=lambda words: on_event(Notice(words)),
            memory=parts.memory,
        )
        self._memory = parts.memory
        self._idle = IdleWatch(self._front, self._memory, self._instances, bell.ring)

    def run(self, stop: Callable[[], bool] | None) -> Outcome:
        holder = self._check()
        if holder:
            # The probe would mistake the other process's responses for the app's.
            self._move(self._life._replace(state="fatal", detail=holder))
            return self._outcome(1)
        while True:
            self._systemd.beat()
            asked = self._requests.asked() or (signal.SIGTERM if stop is not None and stop() else 0)
            if asked:
                self.end()
                self._move(stopped(self._life, time.monotonic(), f"stopped by {signal.Signals(asked).name}"))
                return self._outcome(128 + asked)
            if self._requests.renewal():
                self._instances.renew()
            self._tell_memory()
            look = self._look()
            life, action = step(self._life, look, time.monotonic(), self._patience)
            if action in ("stop", "restart"):
                self._instances.end_serving()
            # Route first: a client that saw /readyz succeed is not to get the waiting page.
            self._instances.route()
            self._note(look, life)
            self._move(life)
            if life.over:
                return self._outcome(self._last_status())
            if action in ("start", "restart"):
                self._start()
            else:
                self._update(look)
                self._bell.wait(_TICK_S if stop is not None else self._next_look_s())

    def end(self) -> None:
        """Stop all instances; a second stop signal ends the grace period early."""
        self._instances.end()
        self._tell_memory()

    def _tell_memory(self) -> None:
        for words in self._memory.notices() if self._memory is not None else ():
            self._on_event(Notice(words))

    def _check(self) -> str:
        """Return a message if another process has the app's port, else "". Raise ValueError for an invalid probe."""
        app = self._app if self._front is None else self._app.on(1)
        for text in (app.ready, app.alive):
            if text:
                parse_probe(text, Tail(), env=app.env, cwd=app.cwd)
        port = port_of(app.ready) if self._front is None else None
        holder = port_taken(port) if port is not None else None
        return "" if holder is None else str(holder)

    def _start(self) -> None:
        self._failed = None
        try:
            instance = self._instances.start()
        except CannotStart as error:
            self._cannot_start = error
            return
        except (OSError, RuntimeError) as error:
            # Too many open files, processes or threads: that may pass, so it counts as a crash.
            why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            self._failed = LifeSigns(alive=False, status=_NO_RESOURCES, cause=f"could not be started: {why}")
            return
        self._tell_start()
        # A promoted standby is ready already: run the next step at once, to report it.
        if instance.ready():
            self._bell.ring()

    def _tell_start(self) -> None:
        serving = self._instances.serving
        assert serving is not None
        self._app_status.began(serving.process.pid, serving.began)
        self._on_event(AppStarted(serving.process.pid, self._instances.starts))

    def _update(self, look: LifeSigns) -> None:
        if self._instances.update(settled=self._life.state == "running" and look.ready):
            self._life = self._life._replace(starts=self._life.starts + 1)
            self._app_status.renewals += 1
            self._tell_start()
            self._on_event(Notice("planned restart: the new instance is serving"))
        self._app_status.spare = self._instances.spare_ready()

    def _next_look_s(self) -> float:
        """Return the seconds until the next timed action is due; events ring the bell before that."""
        now = time.monotonic()
        if self._life.state == "idle":
            due = 3600.0  # a client rings
        elif self._life.state == "backoff":
            due = self._life.until - now
        elif self._life.state == "starting":
            due = self._life.since + self._patience.ready_within_s - now
        else:
            due = min(_SELDOM_S if self._patience.hang_after_s > 0 else 3600.0, self._idle.next_look_s())
            steady_in = self._life.since + self._patience.steady_after_s - now
            if steady_in > 0:
                due = min(due, steady_in)
        return max(0.0, min(due, self._instances.next_look_s(), self._systemd.beat_every_s))

    def _look(self) -> LifeSigns:
        if self._cannot_start is not None:
            return LifeSigns(alive=False, status=self._cannot_start.status, cannot_start=str(self._cannot_start))
        if self._failed is not None and self._life.state != "backoff":
            return self._failed
        serving = self._instances.serving
        if self._life.state == "idle":
            return LifeSigns(alive=False, wanted=self._idle.is_wanted())
        if serving is None or self._life.state == "backoff":
            return LifeSigns(alive=False)
        if serving.over():
            # Its children may still hold the port, and its last output may still be in the pipe.
            self._instances.end_serving()
        look = serving.look(spare=self._instances.spare_ready())
        settled = look.alive and look.ready and self._life.state == "running"
        return look._replace(idle=True) if settled and self._idle.may_end() else look

    def _note(self, look: LifeSigns, life: Life) -> None:
        serving = self._instances.serving
        self._app_status.ready = (look.alive and look.ready) or life.state == "idle"
        if serving is not None and serving.process.left and look.alive:
            self._app_status.follow(serving.process.main)
        ready_at = serving.ready_at() if serving is not None else None
        if self._app_status.ready and ready_at is not None:
            self._app_status.became_ready(ready_at)

    def _move(self, life: Life) -> None:
        before, self._life = self._life, life
        self._app_status.life = life
        if life.state != before.state or life.starts != before.starts:
            self._on_event(Changed(life.state, life.detail, time.monotonic() - self._began))
        if life.state == "running" and before.state == "starting":
            self._instances.freeze_soon()

    def _last_status(self) -> int:
        if self._cannot_start is not None:
            return self._cannot_start.status
        if self._failed is not None:
            return self._failed.status
        serving = self._instances.serving
        return shell_status(serving.process.status or 0) if serving is not None else 0

    def _outcome(self, status: int) -> Outcome:
        serving = self._instances.serving
        tail = serving.tail() if serving is not None else ()
        return Outcome(status, self._life.state == "fatal", self._life.detail, tail, self._life.starts)
