"""Supervisor: start an app, watch it, restart it, and report how it ended."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Callable, Union

from preheat.guard.kernel.ports import port_taken
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import shell_status
from preheat.guard.model.life import Life, LifeSigns, RestartPolicy, State, step, stopped
from preheat.guard.model.tail import Tail
from preheat.guard.model.wakeup import Bell
from preheat.guard.probes.probes import parse_probe, port_of
from preheat.guard.process.process import CannotStart, Output
from preheat.guard.status.app_status import AppStatus
from preheat.guard.supervise.instances import Crew, StandbyPolicy
from preheat.guard.supervise.signals import Requests

if TYPE_CHECKING:
    from preheat.guard.net.port_relay import Front
    from preheat.guard.witness.connections import Witness

_TICK_S = 0.05
_SELDOM_S = 1.0


@dataclass(frozen=True)
class Changed:
    """The app's life moved to `life`; `detail` says why; `seconds` since the supervision began."""

    life: State
    detail: str
    seconds: float


@dataclass(frozen=True)
class AppStarted:
    """The app runs as process `pid`, for the `start`-th time."""

    pid: int
    start: int


@dataclass(frozen=True)
class Said:
    """Something beside the app's life that a person should know, in words."""

    words: str


Event = Union[Changed, AppStarted, Said]


@dataclass(frozen=True)
class Outcome:
    """How it came out.

    `status` is what a shell would say: the app's own when it chose to end, 128+N when signal N ended it or asked us to
    stop it. `fatal`: it could not be started, was never ready, or died too often; `reason` says which, and `tail` is
    the last it said.
    """

    status: int
    fatal: bool
    reason: str
    tail: tuple[str, ...]
    starts: int


@dataclass(frozen=True)
class SupervisorParts:
    """What stands around a supervision: who is told of it, and who holds its port."""

    board: AppStatus | None = None
    front: Front | None = None
    terms: StandbyPolicy = field(default_factory=StandbyPolicy)


def supervise(
    app: App,
    patience: RestartPolicy,
    on_event: Callable[[Event], None],
    *,
    witness: Witness | None = None,
    output: Output = Output(),  # noqa: B008 - frozen
    stop: Callable[[], bool] | None = None,
    around: SupervisorParts = SupervisorParts(),
) -> Outcome:
    """Keep an app alive until it ends by itself, its restarts are spent, a signal comes, or `stop` says so.

    With a front, SIGHUP is a planned restart; without one it ends the app, as it would any program. Raise ValueError
    when a probe of the app is none. Signals are only taken on the main thread.
    """
    bell = Bell()
    try:
        with Requests(bell, renews=around.front is not None) as requests:
            supervision = _Supervision(app, patience, on_event, output, witness, requests, bell, around)
            try:
                return supervision.run(stop)
            finally:
                supervision.end()
    finally:
        bell.close()


class _Supervision:
    """One loop: look, step, act."""

    def __init__(
        self,
        app: App,
        patience: RestartPolicy,
        on_event: Callable[[Event], None],
        output: Output,
        witness: Witness | None,
        requests: Requests,
        bell: Bell,
        around: SupervisorParts,
    ) -> None:
        self._app = app
        self._patience = patience
        self._on_event = on_event
        self._requests = requests
        self._bell = bell
        self._front = around.front
        self._board = around.board or AppStatus("")
        self._began = time.monotonic()
        self._life = Life()
        self._cannot_start: CannotStart | None = None
        self._crew = Crew(
            app,
            patience,
            around.terms,
            bell,
            output=output,
            witness=witness,
            front=self._front,
            hurry=requests.hurry,
            say=lambda words: on_event(Said(words)),
        )

    def run(self, stop: Callable[[], bool] | None) -> Outcome:
        holder = self._check()
        if holder:
            # Its answers would be taken for the app's.
            self._move(replace(self._life, state="fatal", detail=holder))
            return self._outcome(1)
        while True:
            asked = self._requests.asked() or (signal.SIGTERM if stop is not None and stop() else 0)
            if asked:
                self.end()
                self._move(stopped(self._life, time.monotonic(), f"stopped by {signal.Signals(asked).name}"))
                return self._outcome(128 + asked)
            if self._requests.renewal():
                self._crew.renew()
            look = self._look()
            life, action = step(self._life, look, time.monotonic(), self._patience)
            if action in ("stop", "restart"):
                self._crew.end_serving()
            self._note(look)
            self._move(life)
            if life.over:
                return self._outcome(self._last_status())
            if action in ("start", "restart"):
                self._start()
            else:
                self._tend(look)
                self._bell.wait(_TICK_S if stop is not None else self._next_look_s())

    def end(self) -> None:
        """Stop what runs, and what is left of it; a second signal cuts the grace short."""
        self._crew.end()

    def _check(self) -> str:
        """Refuse probes that are none; say who has the app's port already."""
        app = self._app if self._front is None else self._app.on(1)
        for text in (app.ready, app.alive):
            if text:
                parse_probe(text, Tail(), env=app.env, cwd=app.cwd)
        port = port_of(app.ready) if self._front is None else None
        holder = port_taken(port) if port is not None else None
        return "" if holder is None else str(holder)

    def _start(self) -> None:
        try:
            instance = self._crew.start()
        except CannotStart as error:
            self._cannot_start = error
            return
        self._tell_start()
        # Ready from before, when it stood by: said at once, not at the next look.
        if instance.ready():
            self._bell.ring()

    def _tell_start(self) -> None:
        serving = self._crew.serving
        assert serving is not None
        self._board.began(serving.process.pid, serving.began)
        self._on_event(AppStarted(serving.process.pid, self._crew.starts))

    def _tend(self, look: LifeSigns) -> None:
        if self._crew.tend(settled=self._life.state == "running" and look.ready):
            self._life = replace(self._life, starts=self._life.starts + 1)
            self._board.renewals += 1
            self._tell_start()
            self._on_event(Said("planned restart: the new one serves"))
        self._board.spare = self._crew.spare_ready()

    def _next_look_s(self) -> float:
        """Say how long nothing can be due; whatever happens rings."""
        now = time.monotonic()
        if self._life.state == "backoff":
            due = self._life.until - now
        elif self._life.state == "starting":
            due = self._life.since + self._patience.ready_within_s - now
        else:
            due = _SELDOM_S if self._patience.hang_after_s > 0 else 3600.0
            steady_in = self._life.since + self._patience.steady_after_s - now
            if steady_in > 0:
                due = min(due, steady_in)
        return max(0.0, min(due, self._crew.next_look_s()))

    def _look(self) -> LifeSigns:
        if self._cannot_start is not None:
            return LifeSigns(alive=False, status=self._cannot_start.status, cannot_start=str(self._cannot_start))
        serving = self._crew.serving
        if serving is None:
            return LifeSigns(alive=False)
        if not serving.process.alive() and self._life.state != "backoff":
            # Its children may still hold its port, and its last words may still be on their way.
            self._crew.end_serving()
        return serving.look(spare=self._crew.spare_ready()) if self._life.state != "backoff" else LifeSigns(alive=False)

    def _note(self, look: LifeSigns) -> None:
        serving = self._crew.serving
        self._board.ready = look.alive and look.ready
        ready_at = serving.ready_at() if serving is not None else None
        if self._board.ready and ready_at is not None:
            self._board.became_ready(ready_at)

    def _move(self, life: Life) -> None:
        before, self._life = self._life, life
        self._board.life = life
        if life.state != before.state or life.starts != before.starts:
            self._on_event(Changed(life.state, life.detail, time.monotonic() - self._began))

    def _last_status(self) -> int:
        if self._cannot_start is not None:
            return self._cannot_start.status
        serving = self._crew.serving
        return shell_status(serving.process.status or 0) if serving is not None else 0

    def _outcome(self, status: int) -> Outcome:
        serving = self._crew.serving
        tail = serving.tail() if serving is not None else ()
        return Outcome(status, self._life.state == "fatal", self._life.detail, tail, self._life.starts)
