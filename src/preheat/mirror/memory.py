"""Memory: what was asked of somebody far away, and the answer for a while; asked once, however many want to know."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from preheat.errors import AccessDenied, HubError, NotFound

Value = TypeVar("Value")
_REFUSAL = 10  # in files: its words take as much room


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Value]):
    """An answer, or an error; or both, where nobody answers any more what was answered once."""

    value: Value | None
    error: HubError | None
    until: float
    weight: int


class Memory(Generic[Value]):
    """Keeps answers, and refusals, up to a weight in all; what was asked for longest ago is forgotten first.

    Threads may share it: while one asks, others that want to know the same wait.
    """

    def __init__(self, weigh: Callable[[Value], int], heaviest: int = 100_000) -> None:
        self._weigh = weigh
        self._heaviest = heaviest
        self._weight = 0
        self._kept: OrderedDict[Hashable, _Kept[Value]] = OrderedDict()
        self._asking: dict[Hashable, tuple[threading.Lock, int]] = {}
        self._turn = threading.Lock()

    def recall(self, key: Hashable, ask: Callable[[], Value], fresh_s: float, refused_s: float) -> Value:
        """Return the answer if it is fresh, else what `ask` returns. What it raises, a HubError, is kept too."""
        with self._alone(key):
            kept = self._look(key)
            if kept is None or time.monotonic() >= kept.until:
                kept = self._ask(key, ask, fresh_s, refused_s)
        if kept.error is not None:
            raise kept.error.again()
        assert kept.value is not None
        return kept.value

    def last(self, key: Hashable) -> Value | None:
        """Return the answer last given, fresh or not, unless it was refused since."""
        kept = self._look(key)
        return kept.value if kept is not None else None

    def _ask(self, key: Hashable, ask: Callable[[], Value], fresh_s: float, refused_s: float) -> _Kept[Value]:
        try:
            value = ask()
        except (AccessDenied, NotFound) as error:
            return self._keep(key, _Kept(None, error.again(), time.monotonic() + refused_s, _REFUSAL))
        except HubError as error:
            known = self.last(key)
            weight = _REFUSAL if known is None else _REFUSAL + self._weigh(known)
            return self._keep(key, _Kept(known, error.again(), time.monotonic() + refused_s, weight))
        return self._keep(key, _Kept(value, None, time.monotonic() + fresh_s, 1 + self._weigh(value)))

    def _look(self, key: Hashable) -> _Kept[Value] | None:
        with self._turn:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
            return kept

    def _keep(self, key: Hashable, kept: _Kept[Value]) -> _Kept[Value]:
        with self._turn:
            before = self._kept.pop(key, None)
            self._kept[key] = kept
            self._weight += kept.weight - (before.weight if before is not None else 0)
            while self._weight > self._heaviest and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._weight -= oldest.weight
        return kept

    @contextmanager
    def _alone(self, key: Hashable) -> Iterator[None]:
        with self._turn:
            lock, count = self._asking.get(key, (threading.Lock(), 0))
            self._asking[key] = (lock, count + 1)
        try:
            with lock:
                yield
        finally:
            with self._turn:
                lock, count = self._asking.pop(key)
                if count > 1:
                    self._asking[key] = (lock, count - 1)
