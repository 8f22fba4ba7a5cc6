"""Retry: ask again after a pause, while asking again may help."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from preheat.errors import HubUnavailable

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to ask, and how long to wait between: doubling from `first_wait_s`, at most `longest_wait_s`.

    A source that has answered before is given `lasting_s` seconds instead of a number of attempts: it may restart, or
    the line to it may be gone for a while.
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    lasting_s: float = 300.0

    def wait_s(self, failures: int, asked_for_s: float | None, jitter: float) -> float:
        """Say how long to wait after the `failures`-th failure in a row.

        `asked_for_s` is what the other end asked for (Retry-After) and wins up to `longest_wait_s`; `jitter`
        in [0, 1) spreads many callers over half of the wait.
        """
        if asked_for_s is not None:
            return min(asked_for_s, self.longest_wait_s)
        whole: float = min(self.first_wait_s * 2 ** (failures - 1), self.longest_wait_s)
        return whole * (0.5 + jitter / 2)


USUAL = Patience()


def persist(
    ask: Callable[[], Answer],
    patience: Patience,
    on_wait: Callable[[HubUnavailable, float], None] = lambda _error, _wait_s: None,
) -> Answer:
    """Return what `ask` returns; after HubUnavailable ask again, and raise it when patience is spent.

    A host that has never answered and was waited for until the read timeout is not waited for a second time.
    """
    failures, began = 0, time.monotonic()
    while True:
        try:
            return ask()
        except HubUnavailable as error:
            failures += 1
            waits_long = error.seen and time.monotonic() - began < patience.lasting_s
            if not waits_long and (failures >= patience.attempts or (error.silent and not error.seen)):
                raise
            wait_s = patience.wait_s(failures, error.wait_s, random.random())  # noqa: S311 - jitter, not a secret
            on_wait(error, wait_s)
            time.sleep(wait_s)
