"""Retry: only temporary failures are retried, with the requested waits, and within limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import HubUnavailable, NotFound
from preheat.net.retry import RetryPolicy, persist

QUICK = RetryPolicy(attempts=3, first_wait_s=0.001)


def test_a_temporary_failure_is_retried() -> None:
    answers: list[Exception | str] = [HubUnavailable("down"), HubUnavailable("down"), "up"]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert persist(ask, QUICK) == "up"


def test_it_gives_up_when_attempts_are_used_up() -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise HubUnavailable("down")

    with pytest.raises(HubUnavailable):
        persist(ask, QUICK)
    assert len(asked) == 3


def test_a_permanent_error_is_final() -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise NotFound("no")

    with pytest.raises(NotFound):
        persist(ask, QUICK)
    assert len(asked) == 1


@given(st.integers(1, 60), st.floats(0, 0.999))
def test_waits_grow_and_stay_within_bounds(failures: int, jitter: float) -> None:
    patience = RetryPolicy()
    assert 0 < patience.wait_s(failures, None, jitter) <= patience.longest_wait_s


@given(st.floats(0, 10_000), st.floats(0, 0.999))
def test_retry_after_is_used_while_the_time_limit_permits(asked: float, jitter: float) -> None:
    patience = RetryPolicy()
    assert patience.wait_s(1, asked, jitter) == min(asked, patience.lasting_s)
