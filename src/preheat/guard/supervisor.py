"""Supervise: start an app, watch it, start it again, and say how it came out."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable, Union

from preheat.guard.app import App
from preheat.guard.ending import shell_status
from preheat.guard.lifecycle import Life, Look, Patience, State, step, stopped
from preheat.guard.lookout import Lookout
from preheat.guard.ports import port_taken
from preheat.guard.probes import Probe, parse_probe, port_of
from preheat.guard.process import CannotStart, Output, Process
from preheat.guard.signals import Requests
from preheat.guard.tail import Tail

if TYPE_CHECKING:
    from preheat.guard.network import Witness

_TICK_S = 0.05
_LAST_LINES = 20


@dataclass(frozen=True)
class Changed:
    """The app's life moved to `life`; `detail` says why; `seconds` since the supervision began."""

    life: State
    detail: str
    seconds: float


@dataclass(frozen=True)
class Started:
    """The app runs as process `pid`, for the `start`-th time."""

    pid: int
    start: int


Event = Union[Changed, Started]


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


def supervise(
    app: App,
    patience: Patience,
    on_event: Callable[[Event], None],
    *,
    witness: Witness | None = None,
    output: Output = Output(),  # noqa: B008 - frozen
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Keep an app alive until it ends by itself, its restarts are spent, a signal comes, or `stop` says so.

    Raise ValueError when `app.ready` is no probe. Signals are only taken on the main thread.
    """
    with Requests() as requests:
        supervision = _Supervision(app, patience, on_event, output, witness, requests)
        try:
            return supervision.run(stop)
        finally:
            supervision.end()


class _Supervision:
    """One loop: look, step, act."""

    def __init__(
        self,
        app: App,
        patience: Patience,
        on_event: Callable[[Event], None],
        output: Output,
        witness: Witness | None,
        requests: Requests,
    ) -> None:
        self._app = app
        self._patience = patience
        self._on_event = on_event
        self._output = output
        self._witness = witness
        self._requests = requests
        self._began = time.monotonic()
        self._life = Life()
        self._process: Process | None = None
        self._lookout: Lookout | None = None
        self._cannot_start: CannotStart | None = None

    def run(self, stop: Callable[[], bool]) -> Outcome:
        if self._app.ready:
            self._probe(Tail())
        port = port_of(self._app.ready)
        holder = port_taken(port) if port is not None else None
        if holder is not None:
            # Its answers would be taken for the app's.
            self._move(replace(self._life, state="fatal", detail=str(holder)))
            return self._outcome(1)
        while True:
            asked = self._requests.asked() or (signal.SIGTERM if stop() else 0)
            if asked:
                self.end()
                self._move(stopped(self._life, time.monotonic(), f"stopped by {signal.Signals(asked).name}"))
                return self._outcome(128 + asked)
            life, action = step(self._life, self._look(), time.monotonic(), self._patience)
            if action == "stop":
                self.end()
            self._move(life)
            if life.over:
                return self._outcome(self._last_status())
            if action == "start":
                self._start()
            elif self._process is not None and self._process.alive():
                self._process.wait(_TICK_S)
            else:
                time.sleep(_TICK_S)

    def end(self) -> None:
        """Stop what runs, and what is left of its group; a second signal cuts the grace short."""
        if self._lookout is not None:
            self._lookout.close()
        if self._process is not None:
            self._process.stop(self._patience.stop_within_s, self._requests.hurry)

    def _start(self) -> None:
        try:
            self._process = Process(self._app, output=self._output, witness=self._witness)
        except CannotStart as error:
            self._process, self._cannot_start = None, error
            return
        self._on_event(Started(self._process.pid, self._life.starts))
        self._lookout = None
        if self._app.ready:
            self._lookout = Lookout(self._probe(self._process.tail))

    def _probe(self, tail: Tail) -> Probe:
        return parse_probe(self._app.ready, tail, env=self._app.env, cwd=self._app.cwd)

    def _look(self) -> Look:
        if self._cannot_start is not None:
            return Look(alive=False, status=self._cannot_start.status, cannot_start=str(self._cannot_start))
        if self._process is None:
            return Look(alive=False)
        if self._process.alive():
            return Look(alive=True, ready=self._lookout is None or self._lookout.ready())
        # Its children may still hold its port, and its last words may still be on their way.
        self.end()
        return Look(alive=False, status=self._process.status or 0)

    def _move(self, life: Life) -> None:
        if life.state != self._life.state:
            self._on_event(Changed(life.state, life.detail, time.monotonic() - self._began))
        self._life = life

    def _last_status(self) -> int:
        if self._cannot_start is not None:
            return self._cannot_start.status
        return shell_status(self._process.status or 0) if self._process is not None else 0

    def _outcome(self, status: int) -> Outcome:
        tail = self._process.tail.lines(_LAST_LINES) if self._process is not None else ()
        return Outcome(status, self._life.state == "fatal", self._life.detail, tail, self._life.starts)
