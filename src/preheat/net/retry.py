"""Retry: repeat a request with back-off and jitter while the failure may be temporary."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from preheat.core.errors import HubUnavailable
from preheat.core.events import Away, Listener, Retrying

Answer = TypeVar("Answer")
# Retrying events for one source; after them, only Away events are emitted.
TOLD = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Number of attempts and waits between them: doubling from `first_wait_s`, at most `longest_wait_s` seconds.

    A source that has responded before is retried for `lasting_s` seconds instead of `attempts` times: it may be
    restarting, or the network may be down for a while.
    """

    attempts: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 5.0
    lasting_s: float = 300.0

    def wait_s(self, failures: int, asked_for_s: float | None, jitter: float) -> float:
        """Return the seconds to wait after the `failures`-th failure in a row.

        `asked_for_s` is the server's Retry-After, which is used up to `lasting_s`; `jitter` in [0, 1) spreads clients
        over half of the wait.
        """
        if asked_for_s is not None:
            return min(asked_for_s, max(self.lasting_s, self.longest_wait_s))
        whole: float = min(self.first_wait_s * 2 ** (failures - 1), self.longest_wait_s)
        return whole * (0.5 + jitter / 2)


USUAL = RetryPolicy()
HASTY = RetryPolicy(attempts=2, lasting_s=0)  # with another source, or for what an app can start without
NEAR = RetryPolicy(attempts=2, first_wait_s=0.25, longest_wait_s=1.0, lasting_s=2.0)  # a mirror, with others after it
_BUSY_S = 1.0
NEAR_CONNECT_S, NEAR_ALIVE_S = 2.0, 2.0  # of such a mirror: to connect, and until a host that is gone is noticed


def is_busy(error: Exception) -> bool:
    """Return whether a server is up, and asks to come back later."""
    return isinstance(error, HubUnavailable) and error.status in (429, 503)


def while_busy(act: Callable[[], None], lasting_s: float) -> None:
    """Call `act`; call it again each second, for up to `lasting_s`, while the server is up but asks to come back later.

    Use it for a nearby mirror: to wait for it costs less than to load the same bytes from a source that is far away.
    """
    until = time.monotonic() + lasting_s
    while True:
        try:
            return act()
        except HubUnavailable as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
        time.sleep(_BUSY_S)


def persist(
    ask: Callable[[], Answer],
    patience: RetryPolicy,
    what: str = "",
    on_event: Listener = lambda _: None,
) -> Answer:
    """Return the result of `ask`; retry after HubUnavailable, and raise it when attempts or time run out.

    A read timeout from a host that has never responded is not retried. Emit Retrying about `what` for each failure, and
    Away every second while waiting for a host that has responded before.
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
    """Sleep for `wait_s` seconds; yield the seconds passed, first 0 and then after each second."""
    began = time.monotonic()
    while (waited_s := time.monotonic() - began) < wait_s:
        yield waited_s
        time.sleep(min(wait_s - waited_s, 1.0))
