"""Answer cache: cache upstream responses for a limited time, and send identical concurrent requests once."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, MirrorBusy, NotFound, PreheatError
from preheat.mirror.http.lead import about_to_wait

Value = TypeVar("Value")
_REFUSAL = 10  # in files: an error takes as much memory as ten of them


class Late(HubUnavailable):
    """The upstream has not answered in time; the request is still running."""


@dataclass(frozen=True, slots=True)
class _Kept(Generic[Value]):
    """A cached value, or an error; both if the upstream fails now but answered before."""

    value: Value | None
    error: HubError | None
    until: float
    weight: int


@dataclass(slots=True, eq=False)
class _Question(Generic[Value]):
    """A running request, since `began`; once `over` is set, it has a result to cache, or an error not to cache."""

    began: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)
    kept: _Kept[Value] | None = None
    error: BaseException | None = None


class AnswerCache(Generic[Value]):
    """Cache responses and refusals up to a total weight; evict the least recently used first.

    Thread-safe: callers with the same key wait for one request.
    """

    def __init__(self, weigh: Callable[[Value], int], heaviest: int = 100_000) -> None:
        self._weigh = weigh
        self._heaviest = heaviest
        self._weight = 0
        self._kept: OrderedDict[Hashable, _Kept[Value]] = OrderedDict()
        self._asking: dict[Hashable, _Question[Value]] = {}
        self._turn = threading.Lock()

    def recall(
        self, key: Hashable, ask: Callable[[], Value], fresh_s: float, refused_s: float, within_s: float | None = None
    ) -> Value:
        """Return the cached value if it is fresh, else the value that `ask` returns; a HubError is cached too.

        Raise Late if `ask` has not returned `within_s` seconds after it started; it continues in a thread, and its
        result is cached for the next caller.
        """
        kept = self._look(key)
        if kept is None or time.monotonic() >= kept.until:
            kept = self._await(key, partial(self._ask, key, ask, fresh_s, refused_s), within_s)
        if kept.error is not None:
            raise kept.error.again()
        assert kept.value is not None
        return kept.value

    def last(self, key: Hashable) -> Value | None:
        """Return the last value, fresh or stale; None if it was refused since."""
        kept = self._look(key)
        return kept.value if kept is not None else None

    def _ask(self, key: Hashable, ask: Callable[[], Value], fresh_s: float, refused_s: float) -> _Kept[Value]:
        try:
            value = ask()
        except (AccessDenied, NotFound) as error:
            return self._keep(key, _Kept(None, error.again(), time.monotonic() + refused_s, _REFUSAL))
        except MirrorBusy:
            raise  # upstream has not answered
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

    def _await(self, key: Hashable, ask: Callable[[], _Kept[Value]], within_s: float | None) -> _Kept[Value]:
        """Start the request unless it is running, and wait for its result."""
        about_to_wait()
        with self._turn:
            question, kept = self._asking.get(key), self._kept.get(key)
            if question is None and kept is not None and time.monotonic() < kept.until:
                return kept  # another thread has just cached it
            is_mine = question is None
            if question is None:
                question = self._asking[key] = _Question()
        if is_mine and (within_s is None or not _in_background(partial(self._answer, key, question, ask))):
            self._answer(key, question, ask)
        began = question.began
        if not question.over.wait(None if within_s is None else max(began + within_s - time.monotonic(), 0.0)):
            raise Late("upstream has not answered yet")
        if question.error is not None:
            raise question.error
        assert question.kept is not None
        return question.kept

    def _answer(self, key: Hashable, question: "_Question[Value]", ask: Callable[[], _Kept[Value]]) -> None:
        try:
            question.kept = ask()
        except PreheatError as error:
            question.error = error.again()
        except BaseException as error:  # noqa: BLE001 - raised in the threads that wait for it
            question.error = error
        finally:
            with self._turn:
                del self._asking[key]
            question.over.set()


def _in_background(act: Callable[[], None]) -> bool:
    try:
        threading.Thread(target=act, name="question", daemon=True).start()
    except RuntimeError:
        return False  # the system cannot start another thread
    return True
