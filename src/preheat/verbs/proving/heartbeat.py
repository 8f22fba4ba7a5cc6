"""Heartbeat: report what a proof is doing, and how long it will take, every few seconds, also while nothing happens."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from preheat.core.events import Listener, TrialProgress
from preheat.verbs.proving.proof_plan import Estimate

_EVERY_S = 10.0


class Doing(Protocol):
    """Reports what a proof is doing from now on; `fetched` returns the bytes that a cold start has downloaded."""

    def __call__(self, doing: str, fetched: Callable[[], int] | None = None, /) -> None:
        """See the class."""


def untold(_doing: str, _fetched: Callable[[], int] | None = None, /) -> None:
    """Report nothing."""


def likely_least_most(estimate: Estimate) -> tuple[float | None, float, float | None]:
    """Return an estimate as the fields of an event: `left_s`, `least_s` and `most_s`."""
    most, likely = estimate.most, estimate.likely
    return (
        None if likely is None else round(likely, 1),
        round(estimate.least, 1),
        None if most is None else round(most, 1),
    )


class Heartbeat:
    """Emits a TrialProgress every ten seconds, from a thread, until the end of `with`.

    `estimate` returns what is left of the proof.
    """

    def __init__(self, app: str, estimate: Callable[[], Estimate], on_event: Listener) -> None:
        self._app, self._estimate, self._on_event = app, estimate, on_event
        self._doing, self._since = "preparing", time.monotonic()
        self._fetched: Callable[[], int] | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def now(self, doing: str, fetched: Callable[[], int] | None = None) -> None:
        """Set what the proof is doing from now on; `fetched` returns the bytes that it has downloaded by then."""
        self._doing, self._since, self._fetched = doing, time.monotonic(), fetched

    def tell(self) -> None:
        """Emit the event."""
        fetched = self._fetched
        seconds, size = time.monotonic() - self._since, None if fetched is None else fetched()
        left = likely_least_most(self._estimate())
        self._on_event(TrialProgress(self._app, round(seconds, 1), size, self._doing, *left))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self.tell()
