"""Instance: one start of an app, with the probe loop and witness that observe it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Callable

from preheat.guard.kernel.oom import oom_kills
from preheat.guard.kernel.ports import listeners_of
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import describe_exit
from preheat.guard.model.life import LifeSigns
from preheat.guard.model.wakeup import Ring
from preheat.guard.probes.probe_loop import ProbeLoop
from preheat.guard.probes.probes import port_of
from preheat.guard.process.own_probe import own_probe
from preheat.guard.process.process import Output, Process
from preheat.guard.supervise.diagnosis import diagnose, end_kind, is_lasting

if TYPE_CHECKING:
    from preheat.guard.memory_snapshot.restore import Restorable
    from preheat.guard.witness.connections import Witness

_LAST_LINES = 20


class Instance:
    """A process of the app, started or restored, with its probes. Raise CannotStart or CannotRestore."""

    def __init__(
        self,
        app: App,
        port: int | None,
        *,
        output: Output,
        witness: Witness | None,
        ring: Ring,
        ask_every_s: float = 5.0,
        say: Callable[[str], None] = lambda _words: None,
        saved: Restorable | None = None,
    ) -> None:
        self._ask_every_s = ask_every_s
        self._say = say
        self.port = port
        self.saved_start_s = 0.0 if saved is None else saved.saved.start_s  # of the start whose memory is restored
        self._told_left = False
        self._closed: int | None = None  # the status of an app that left its port
        self.app = app if port is None else app.on(port)
        self.began = time.monotonic()
        self._oom_kills = oom_kills()
        self.process = Process(self.app, output=output, witness=witness, on_end=ring, saved=saved)
        self._ready = self._probe_loop(self.app.ready, ring, each_time=False)
        self._alive = self._probe_loop(self.app.alive, ring, each_time=True) if self.app.alive else self._ready

    def ready(self) -> bool:
        """Return whether the process runs and its readiness probe succeeds."""
        return self.process.alive() and (self._ready is None or self._ready.ready())

    def ready_at(self) -> float | None:
        """Return when it first became ready, as time.monotonic(); None before that."""
        return self.began if self._ready is None else self._ready.ready_at

    def look(self, *, spare: bool = False) -> LifeSigns:
        """Return its current state.

        After the process has ended, call `end` first, so that all of its output is available for the diagnosis.
        """
        chance = int.from_bytes(os.urandom(4), "little") / (1 << 32)
        if self.process.alive():
            self._tell_left()
            silent_s = self._alive.silent_s() if self._alive is not None else 0.0
            return LifeSigns(alive=True, ready=self.ready(), silent_s=silent_s, spare=spare, chance=chance)
        status, tail = self.process.status or 0 if self._closed is None else self._closed, self.tail()
        # The kernel increments the counter before it kills. The app may also have ended because a child was killed.
        cause = (oom_kills().since(self._oom_kills) or diagnose(tail, self._python())) if status else ""
        if not cause and self._closed is not None:
            cause = f"none of its processes listens on port {self._port_of_probe()} any more"
        alike = end_kind(describe_exit(status, cause), tail)
        lasting = is_lasting(status, tail)
        return LifeSigns(
            alive=False, status=status, cause=cause, end_kind=alike, lasting=lasting, spare=spare, chance=chance
        )

    def _python(self) -> str:
        """Return the path of the interpreter, if the command begins with one."""
        name, env = self.app.command[0], self.app.env
        if not os.path.basename(name).startswith("python"):
            return ""
        from preheat.guard.process.program_file import find_program  # an app that starts does not wait for it

        return find_program(name, self.app.cwd, os.environ if env is None else env) or name

    def tail(self) -> tuple[str, ...]:
        """Return its last lines of output."""
        return self.process.tail.lines(_LAST_LINES)

    def end(self, within_s: float, hurry: Callable[[], bool]) -> None:
        """Stop it and its remaining processes; further calls do nothing."""
        for lookout in (self._ready, self._alive):
            if lookout is not None:
                lookout.close()
        self.process.stop(within_s, hurry)

    def over(self) -> bool:
        """Return whether the app has ended.

        An app whose command has ended, and left processes that go on, is over too when none of them listens on the port
        of its probe any more: what is left then, such as a log viewer, is not the app.
        """
        if self._closed is None and self.process.left and self._left_its_port():
            self._closed = self.process.failure
        return self._closed is not None or not self.process.alive()

    def _left_its_port(self) -> bool:
        port = self._port_of_probe()
        if port is None or self._ready is None or self._ready.ready_at is None or self._ready.ready():
            return False
        return not listeners_of(self.process.warden, port)

    def _port_of_probe(self) -> int | None:
        return port_of(self.app.ready) if self.app.ready else None

    def _tell_left(self) -> None:
        if self.process.left and not self._told_left:
            self._told_left = True
            self._say("the command ended with status 0; the processes that it left running are the app from now on")

    def _probe_loop(self, text: str, ring: Ring, *, each_time: bool) -> ProbeLoop | None:
        if not text or (self.saved_start_s and text.startswith("line:")):
            return None  # a restored app does not print its first lines again
        probe = own_probe(
            text,
            self.process,
            lambda other: self._say(f"{other}: what answers there is not the app"),
            each_time=each_time,
        )
        return ProbeLoop(probe, then_every_s=self._ask_every_s, on_change=ring)
