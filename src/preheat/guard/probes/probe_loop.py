"""Probe loop: run a probe periodically in a thread, and store the last result."""

from __future__ import annotations

import threading
import time

from preheat.guard.model.wakeup import Ring, silent
from preheat.guard.probes.probes import Probe

_THEN_EVERY_S = 5.0


class ProbeLoop:
    """Run a probe in a background thread: every `every_s` until it first succeeds, then every `then_every_s`.

    `ready_at` is the time.monotonic() of the first success, or None. The thread calls `on_change` whenever the result
    changes.
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
        """Return the last result, without waiting."""
        return self._ready

    def silent_s(self) -> float:
        """Return the seconds since the last success, less the probe interval; 0 before the first success."""
        return 0.0 if self.ready_at is None else max(0.0, time.monotonic() - self._yes_at - self._then_every_s)

    def close(self) -> None:
        """Stop probing; a probe that is running is not interrupted."""
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
            # Probe a ready app more often after a failure, which may be brief.
            self._closed.wait(
                self._then_every_s if ready else max(self._every_s, self._then_every_s / 10 if self.ready_at else 0)
            )
