"""Patience asks again only where that may help, waits as long as it was told to, and gives up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import HubUnavailable, NotFound
from preheat.net.retry import RetryPolicy, persist

QUICK = RetryPolicy(attempts=3, first_wait_s=0.001)


def test_it_goes_on_after_a_failure_that_may_pass() -> None:
    answers: list[Exception | str] = [HubUnavailable("down"), HubUnavailable("down"), "up"]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert persist(ask, QUICK) == "up"


def test_it_gives_up_when_patience_is_spent() -> None:
    asked = []

    def ask() -> None:
        asked.append(1)
        raise HubUnavailable("down")

    with pytest.raises(HubUnavailable):
        persist(ask, QUICK)
    assert len(asked) == 3


def test_a_no_is_final() -> None:
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
def test_what_the_hub_asks_for_wins_while_patience_lasts(asked: float, jitter: float) -> None:
    patience = RetryPolicy()
    assert patience.wait_s(1, asked, jitter) == min(asked, patience.lasting_s)
