"""Answer cache: identical requests are sent once, old entries evicted, and stale ones used during outages."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import AccessDenied, HubUnavailable, IntegrityError, NotFound
from preheat.mirror.upstream.answer_cache import AnswerCache, Late


def test_concurrent_callers_with_one_key_cause_one_request() -> None:
    memory: AnswerCache[int] = AnswerCache(lambda _: 1)
    asked = threading.Semaphore(0)

    def ask() -> int:
        asked.release()
        time.sleep(0.1)
        return 7

    with ThreadPoolExecutor(20) as people:
        assert set(people.map(lambda _: memory.recall("a", ask, 10, 10), range(20))) == {7}
    assert asked.acquire(blocking=False)
    assert not asked.acquire(blocking=False)


def test_a_late_response_is_cached_for_the_next_caller() -> None:
    memory: AnswerCache[int] = AnswerCache(lambda _: 1)
    answers = threading.Event()
    asked = []

    def ask() -> int:
        asked.append(1)
        assert answers.wait(10)
        return 7

    for _ in range(2):
        with pytest.raises(Late):
            memory.recall("a", ask, 10, 10, within_s=0.05)
    answers.set()
    assert memory.recall("a", ask, 10, 10) == 7
    assert len(asked) == 1


def test_an_error_that_is_not_the_hubs_reaches_all_waiting_callers_and_is_not_cached() -> None:
    memory: AnswerCache[int] = AnswerCache(lambda _: 1)

    def lies() -> int:
        raise IntegrityError("twice the same name")

    for within_s in (None, 5.0):
        with pytest.raises(IntegrityError):
            memory.recall("a", lies, 10, 10, within_s)
    assert memory.recall("a", lambda: 7, 10, 10) == 7


def test_a_cached_response_expires() -> None:
    memory: AnswerCache[int] = AnswerCache(lambda _: 1)
    assert memory.recall("a", lambda: 1, 0.0, 0.0) == 1
    assert memory.recall("a", lambda: 2, 10.0, 0.0) == 2
    assert memory.recall("a", lambda: 3, 10.0, 0.0) == 2


def _fails(error: NotFound | AccessDenied | HubUnavailable) -> int:
    raise error


def test_a_refusal_is_cached_too_and_raised_as_a_new_error_for_each_caller() -> None:
    memory: AnswerCache[int] = AnswerCache(lambda _: 1)
    raised = []
    for error in (AccessDenied("no", hint="ask", gated=True), AccessDenied("asked again")):
        with pytest.raises(AccessDenied) as caught:
            memory.recall("a", lambda error=error: _fails(error), 10, 10)  # type: ignore[misc]
        raised.append(caught.value)
    assert [(one.message, one.hint, one.gated) for one in raised] == [("no", "ask", True)] * 2
    assert raised[0] is not raised[1]


def test_a_cached_value_survives_an_outage_and_not_a_refusal() -> None:
    memory: AnswerCache[int] = AnswerCache(lambda _: 1)
    memory.recall("a", lambda: 7, 0.0, 0.0)
    with pytest.raises(HubUnavailable) as caught:
        memory.recall("a", lambda: _fails(HubUnavailable("later", wait_s=3.0)), 10, 10)
    assert caught.value.wait_s == 3.0
    assert memory.last("a") == 7
    memory.recall("b", lambda: 7, 0.0, 0.0)
    with pytest.raises(NotFound):
        memory.recall("b", lambda: _fails(NotFound("gone")), 10, 10)
    assert memory.last("b") is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), min_size=1))
def test_the_cache_is_bounded_and_evicts_the_least_recently_used(asked: list[tuple[int, int]]) -> None:
    memory: AnswerCache[int] = AnswerCache(lambda weight: weight, heaviest=30)
    weights: dict[int, int] = {}
    for key, weight in asked:
        weights[key] = memory.recall(key, lambda weight=weight: weight, 100, 100)  # type: ignore[misc]
    held = [key for key in weights if memory.last(key) is not None]
    assert sum(1 + weights[key] for key in held) <= 30
    assert asked[-1][0] in held
