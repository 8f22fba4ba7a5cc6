"""Retry: repeat a request with back-off, as long as that may help."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from preheat.core.errors import HubUnavailable
from preheat.core.events import Away, Listener, Retrying

Answer = TypeVar("Answer")
# Of a source that stays away, only so many failures are told one by one.
TOLD = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often to ask, and how long to wait between: doubling from `first_wait_s`, at most `longest_wait_s`.

    A source that has answered before is given `lasting_s` seconds instead of a number of attempts: it may restart, or
    the line to it may be gone for a while.
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 5.0
    lasting_s: float = 300.0

    def wait_s(self, failures: int, asked_for_s: float | None, jitter: float) -> float:
        """Return how long to wait after the `failures`-th failure in a row.

        `asked_for_s` is what the other end asked for (Retry-After) and wins up to `lasting_s`; `jitter` in [0, 1)
        spreads many callers over half of the wait.
        """
        if asked_for_s is not None:
            return min(asked_for_s, max(self.lasting_s, self.longest_wait_s))
        whole: float = min(self.first_wait_s * 2 ** (failures - 1), self.longest_wait_s)
        return whole * (0.5 + jitter / 2)


USUAL = RetryPolicy()


def persist(
    ask: Callable[[], Answer],
    patience: RetryPolicy,
    what: str = "",
    on_event: Listener = lambda _: None,
) -> Answer:
    """Return what `ask` returns; after HubUnavailable ask again, and raise it when patience is spent.

    A host that has never answered and was waited for until the read timeout is not waited for a second time. Emit
    Retrying about `what` for each failure, and Away every second while a host that has answered before is waited for.
    """
    failures, began = 0, time.monotonic()
    while True:
        try:
            return ask()
        except HubUnavailable as error:
            failures += 1
            left_s = began + patience.lasting_s - time.monotonic() if error.seen else 0.0
            if left_s <= 0 and (failures >= patience.attempts or (error.silent and not error.seen)):
                raise
            wait_s = patience.wait_s(failures, error.wait_s, random.random())  # noqa: S311 - jitter, not a secret
            if left_s <= 0:
                on_event(Retrying(what, error.message, wait_s))
                time.sleep(wait_s)
                continue
            wait_s = min(wait_s, left_s)
            if failures <= TOLD:
                on_event(Retrying(what, error.message, wait_s))
            for waited_s in _seconds(wait_s):
                on_event(Away(what, error.message, wait_s - waited_s, left_s - waited_s))


def _seconds(wait_s: float) -> Iterator[float]:
    """Sleep for `wait_s` seconds; yield how many of them are over, first and after each second."""
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < wait_s:
        yield waited_s
        time.sleep(min(wait_s - waited_s, 1.0))
