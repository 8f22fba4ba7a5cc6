"""Probe loop: runs a probe again and again in a thread, and keeps the last result."""

from __future__ import annotations

import threading
import time

from preheat.guard.model.wakeup import Ring, silent
from preheat.guard.probes.probes import Probe

_THEN_EVERY_S = 5.0


class Lookout:
    """Ask from a thread of its own, so that a slow answer holds up nobody; often until the first yes, then seldom.

    `ready_at` is time.monotonic() of the first yes, None until then. `on_change` is called, from the thread, whenever
    the answer is another than before.
    """

    def __init__(
        self, probe: Probe, every_s: float = 0.1, then_every_s: float = _THEN_EVERY_S, on_change: Ring = silent
    ) -> None:
        self.ready_at: float | None = None
        self._probe = probe
        self._every_s = every_s
        self._then_every_s = then_every_s
        self._on_change = on_change
        self._ready = False
        self._yes_at = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="lookout", daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """See Probe; answers at once, with what was heard last."""
        return self._ready

    def silent_s(self) -> float:
        """Say for how long nobody has said yes; a question that is not answered counts from when it could have been."""
        return 0.0 if self.ready_at is None else max(0.0, time.monotonic() - self._yes_at - self._then_every_s)

    def close(self) -> None:
        """Stop asking; a question under way ends by itself."""
        self._closed.set()

    def _ask(self) -> None:
        while not self._closed.is_set():
            ready = self._probe.ready()
            if self._closed.is_set():
                return
            if ready:
                self._yes_at = time.monotonic()
                self.ready_at = self.ready_at or self._yes_at
            changed, self._ready = ready != self._ready, ready
            if changed:
                self._on_change()
            # What was ready and is not is asked often again: it may be a moment's hiccup.
            self._closed.wait(
                self._then_every_s if ready else max(self._every_s, self._then_every_s / 10 if self.ready_at else 0)
            )
