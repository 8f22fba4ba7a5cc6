"""Lookout: asks a probe over and over, and remembers when it first said yes."""

from __future__ import annotations

import threading
import time

from preheat.guard.probes import Probe


class Lookout:
    """Ask from a thread of its own, so that a slow answer holds up nobody; stop asking at the first yes.

    `ready_at` is time.monotonic() of that yes, None until then.
    """

    def __init__(self, probe: Probe, every_s: float = 0.1) -> None:
        self.ready_at: float | None = None
        self._probe = probe
        self._every_s = every_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="lookout", daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """See Probe; answers at once."""
        return self.ready_at is not None

    def close(self) -> None:
        """Stop asking; a question under way ends by itself."""
        self._closed.set()

    def _ask(self) -> None:
        while not self._closed.is_set():
            if self._probe.ready():
                self.ready_at = time.monotonic()
                return
            self._closed.wait(self._every_s)
