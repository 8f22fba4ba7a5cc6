"""Counters: count responses and bytes since the mirror started."""

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from preheat.core.events import Answered, Event, Evicted

_LISTED = 20  # the last evictions


@dataclass(frozen=True, slots=True)
class Eviction:
    """An evicted version, and the Unix time of its eviction."""

    at: float
    version: Evicted


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """Responses by status, bytes `sent` in bodies, bytes `given` in files, and versions and bytes evicted.

    `evictions` contains the last ones, newest first.
    """

    answers: Mapping[int, int] = field(default_factory=dict)
    sent: int = 0
    given: int = 0
    evicted: int = 0
    evicted_size: int = 0
    evictions: tuple[Eviction, ...] = ()


class RequestCounter:
    """Listener that counts. Thread-safe. `since` is the Unix time of the start."""

    def __init__(self) -> None:
        self.since = time.time()
        self._began = time.monotonic()
        self._turn = threading.Lock()
        self._answers: Counter[int] = Counter()
        self._sent = 0
        self._given = 0
        self._evicted = 0
        self._evicted_size = 0
        self._evictions: deque[Eviction] = deque(maxlen=_LISTED)

    @property
    def age_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def served(self) -> RequestCounts:
        """The counts so far."""
        with self._turn:
            answers, evictions = dict(self._answers), tuple(reversed(self._evictions))
            return RequestCounts(answers, self._sent, self._given, self._evicted, self._evicted_size, evictions)

    def __call__(self, event: Event) -> None:
        """See Listener."""
        match event:
            case Answered():
                with self._turn:
                    self._answers[event.status] += 1
                    self._sent += event.sent
                    self._given += event.sent if event.of_file else 0
            case Evicted():
                with self._turn:
                    self._evicted += 1
                    self._evicted_size += event.size
                    self._evictions.append(Eviction(time.time(), event))
