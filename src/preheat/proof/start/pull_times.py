"""Pull times: how long each stage of a pull took, from its events."""

import time
from collections.abc import Callable

from preheat.core.events import Event, Listener, Received
from preheat.core.pulls.planned_pull import Resolved
from preheat.proof.start.timeline import Pulled


class PullClock:
    """An event listener that times consecutive pulls and forwards each event. A pull begins when the last pull ends."""

    def __init__(self, on_event: Listener, now: Callable[[], float] = time.monotonic) -> None:
        self._on_event, self._now = on_event, now
        self._resolve_s = self._fetch_s = self._verify_s = 0.0
        self._mark = now()
        self._last_received: float | None = None

    def __call__(self, event: Event) -> None:
        """Record the time of an event, and forward it."""
        if isinstance(event, Resolved):
            self._resolve_s += self._lap()
        elif isinstance(event, Received):
            self._last_received = self._now()
        self._on_event(event)

    def ended(self) -> None:
        """Record that the pull of one need ended. The time since the last received bytes counts as verification."""
        if self._last_received is not None:
            self._fetch_s += self._last_received - self._mark
            self._mark, self._last_received = self._last_received, None
        self._verify_s += self._lap()

    def pulled(self, place_s: float) -> Pulled:
        """Return the total times of all stages, including `place_s` for placing the views."""
        return Pulled(self._resolve_s, self._fetch_s, self._verify_s, place_s)

    def _lap(self) -> float:
        before, self._mark = self._mark, self._now()
        return self._mark - before
