"""Instance: one start of an app, with the probe loop and witness that observe it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Callable

from preheat.guard.kernel.oom import victims
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import describe_exit
from preheat.guard.model.life import LifeSigns
from preheat.guard.model.wakeup import Ring
from preheat.guard.probes.probe_loop import Lookout
from preheat.guard.probes.probes import parse_probe
from preheat.guard.process.process import Output, Process
from preheat.guard.supervise.diagnosis import diagnose, likeness

if TYPE_CHECKING:
    from preheat.guard.witness.connections import Witness

_LAST_LINES = 20


class Instance:
    """A process, asked whether it is ready, and whether it still answers. Raise CannotStart when it cannot start."""

    def __init__(
        self,
        app: App,
        port: int | None,
        *,
        output: Output,
        witness: Witness | None,
        ring: Ring,
        ask_every_s: float = 5.0,
    ) -> None:
        self._ask_every_s = ask_every_s
        self.port = port
        self.app = app if port is None else app.on(port)
        self.began = time.monotonic()
        self._victims = victims()
        self.process = Process(self.app, output=output, witness=witness, on_end=ring)
        self._ready = self._lookout(self.app.ready, ring, each_time=False)
        self._alive = self._lookout(self.app.alive, ring, each_time=True) if self.app.alive else self._ready

    def ready(self) -> bool:
        """Whether it runs, and says so itself."""
        return self.process.alive() and (self._ready is None or self._ready.ready())

    def ready_at(self) -> float | None:
        """Say when it was first ready, by time.monotonic(); None until then."""
        return self.began if self._ready is None else self._ready.ready_at

    def look(self, *, spare: bool = False) -> LifeSigns:
        """See how it is. Its end is judged when it is asked about: end it first, so that all it said is here."""
        chance = int.from_bytes(os.urandom(4), "little") / (1 << 32)
        if self.process.alive():
            silent_s = self._alive.silent_s() if self._alive is not None else 0.0
            return LifeSigns(alive=True, ready=self.ready(), silent_s=silent_s, spare=spare, chance=chance)
        status, tail = self.process.status or 0, self.tail()
        # The kernel counts a kill before it makes it. The app may have ended because a child of its was killed.
        cause = (victims().since(self._victims) or diagnose(tail)) if status else ""
        alike = likeness(describe_exit(status, cause), tail)
        return LifeSigns(alive=False, status=status, cause=cause, likeness=alike, spare=spare, chance=chance)

    def tail(self) -> tuple[str, ...]:
        """List its last words."""
        return self.process.tail.lines(_LAST_LINES)

    def end(self, within_s: float, hurry: Callable[[], bool]) -> None:
        """Stop it, and all that is left of it; safe to call again."""
        for lookout in (self._ready, self._alive):
            if lookout is not None:
                lookout.close()
        self.process.stop(within_s, hurry)

    def _lookout(self, text: str, ring: Ring, *, each_time: bool) -> Lookout | None:
        if not text:
            return None
        probe = parse_probe(text, self.process.tail, env=self.app.env, cwd=self.app.cwd, each_time=each_time)
        return Lookout(probe, then_every_s=self._ask_every_s, on_change=ring)
