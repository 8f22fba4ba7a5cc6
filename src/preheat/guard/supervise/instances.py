"""Instances: those of one app: one that serves, one on standby, and those that drain."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from preheat.guard.kernel.free_memory import free_memory
from preheat.guard.kernel.process_tree import family
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.model.wakeup import Bell
from preheat.guard.process.process import CannotStart, Output
from preheat.guard.supervise.instance import Instance

if TYPE_CHECKING:
    from preheat.guard.net.port_relay import Front
    from preheat.guard.witness.connections import Witness

_DRAIN_GLANCE_S = 0.1
_MARGIN = 1.1


@dataclass(frozen=True)
class StandbyPolicy:
    """How a crew is kept: whether one stands by, and for how long one that leaves may finish what it has begun."""

    standby: bool = False
    drain_within_s: float = 30.0


class Crew:
    """Start, promote and dismiss instances; `say` is told what a person should know. One loop calls all of it."""

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
        self._spare: Instance | None = None
        self._spare_failures = 0
        self._spare_not_before = 0.0
        self._renewing = False
        self._leaving: list[threading.Thread] = []
        self._closing = threading.Event()

    def spare_ready(self) -> bool:
        """Whether one stands by, loaded."""
        return self._spare is not None and self._spare.ready()

    def start(self) -> Instance:
        """Have an instance serve: the one that stands by, else a new one. Raise CannotStart."""
        if self._spare is not None and self._spare.ready():
            self.serving, self._spare = self._spare, None
        else:
            self._dismiss_spare()
            self.serving = self._new()
        self._route()
        return self.serving

    def renew(self) -> None:
        """Ask for a planned restart: as soon as another is ready it serves, and the one before leaves."""
        self._renewing = self.serving is not None and self._front is not None
        if self._renewing:
            # Whoever asks has perhaps mended what made others fail.
            self._spare_failures, self._spare_not_before = 0, 0.0

    def tend(self, *, settled: bool) -> bool:
        """Look after all but the one that serves, whose route is kept; whether another serves than before.

        `settled`: the one that serves is ready, so that another may use the machine to load.
        """
        self._route()
        self._leaving = [thread for thread in self._leaving if thread.is_alive()]
        if self._spare is not None and not self._spare.process.alive():
            self._lose_spare(self._spare, "ended before it was ready")
        elif self._spare is not None and self._late(self._spare):
            self._lose_spare(self._spare, f"was not ready within {self._patience.ready_within_s:.0f} s")
        if self._renewing and self._spare is not None and self._spare.ready():
            leaving, self.serving, self._spare = self.serving, self._spare, None
            self._renewing = False
            self._route()
            assert leaving is not None
            thread = threading.Thread(target=self._drain, args=(leaving,), name="drain", daemon=True)
            self._leaving.append(thread)
            thread.start()
            return True
        wanted = self._renewing or (self._terms.standby and settled and not self._leaving)
        if wanted and self._spare is None and time.monotonic() >= self._spare_not_before:
            self._start_spare()
        return False

    def end_serving(self) -> None:
        """End the one that serves, and all that is left of it."""
        if self._front is not None:
            self._front.route(None)
        if self.serving is not None:
            self.serving.end(self._patience.stop_within_s, self._hurry)

    def end(self) -> None:
        """End everyone, at once and not one after the other."""
        self._closing.set()
        others = []
        if self._spare is not None:
            ends = (self._patience.stop_within_s, self._hurry)
            others.append(threading.Thread(target=self._spare.end, args=ends, name="end", daemon=True))
            others[0].start()
        self.end_serving()
        for thread in (*others, *self._leaving):
            thread.join()

    def next_look_s(self) -> float:
        """Say how soon it wants to be tended again, at the latest."""
        return 0.2 if self._renewing or self._leaving else 1.0 if self._terms.standby else 3600.0

    def _new(self) -> Instance:
        port = None if self._front is None else self._front.free_port()
        self.starts += 1
        return Instance(
            self._app,
            port,
            output=self._output,
            witness=self._witness,
            ring=self._bell.ring,
            ask_every_s=self._patience.ask_every_s,
        )

    def _route(self) -> None:
        if self._front is not None:
            serving = self.serving
            self._front.route(serving.port if serving is not None and serving.ready() else None)

    def _start_spare(self) -> None:
        short = "" if self._renewing else self._too_little_memory()
        if short:
            self._spare_not_before = time.monotonic() + 60.0
            self._say(short)
            return
        try:
            self._spare = self._new()
        except (CannotStart, OSError, RuntimeError) as error:
            # No process, thread or descriptor may be to be had; the one that serves goes on.
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
        self._give_up_renewal(f"the new one {how}")

    def _give_up_renewal(self, why: str) -> None:
        what = "the planned restart is given up" if self._renewing else "nobody stands by"
        self._renewing = False
        self._say(f"{what}: {why}")

    def _dismiss_spare(self) -> None:
        if self._spare is not None:
            # Still loading while the one that serves died: a new start has the machine for itself.
            self._spare.end(0.0, self._hurry)
            self._spare = None

    def _too_little_memory(self) -> str:
        assert self.serving is not None
        needed = sum(member.resident for member in family(self.serving.process.pid)) * _MARGIN
        free = free_memory()
        return "" if free >= needed else f"nobody stands by: {needed / 1e6:.0f} MB wanted, {free / 1e6:.0f} MB free"

    def _drain(self, leaving: Instance) -> None:
        """Let one that leaves finish what it has begun, then end it."""
        deadline = time.monotonic() + self._terms.drain_within_s
        front, port = self._front, leaving.port
        if front is not None and port is not None:
            while front.connections(port) and time.monotonic() < deadline and not self._closing.is_set():
                self._closing.wait(_DRAIN_GLANCE_S)
        leaving.end(self._patience.stop_within_s, self._hurry)
        self._bell.ring()
