"""Proof plan: its steps, and how long they will take."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.proof.start.timeline import COLD, CONDITIONS, EVERYWHERE, PRELOADED, RESTART, THAWED, WARM
from preheat.verbs.proving.proof_plan import LIMITS, PULL, REHEARSAL, ProofClock, ProofPlan


def test_a_plan_counts_all_starts_and_downloads() -> None:
    plan = ProofPlan(3, EVERYWHERE, 2_800_000_000)
    assert plan.steps(1) == (PULL, REHEARSAL, COLD, PRELOADED, WARM, RESTART, LIMITS)
    assert plan.steps(2) == (COLD, PULL, PRELOADED, WARM, RESTART, LIMITS)
    thawed = ProofPlan(3, CONDITIONS, 2_800_000_000)
    assert thawed.steps(2) == (COLD, PULL, PRELOADED, WARM, RESTART, THAWED, LIMITS)
    assert thawed.starts == plan.starts + 3
    assert (plan.starts, plan.downloads, plan.space) == (19, 6, 5_600_000_000)
    cold = ProofPlan(2, (COLD,), 100)
    assert (cold.starts, cold.downloads, cold.space) == (2, 2, 100)
    assert (ProofPlan(1, (WARM,), 100).starts, ProofPlan(1, (WARM,), 100).downloads) == (2, 1)


def test_the_time_is_known_from_earlier_starts_and_the_line() -> None:
    plan = ProofPlan(1, (COLD, PRELOADED), 1000, start_s=10, one=100.0, many=500.0, observe_s=30)
    # pull 2, rehearsal 10, cold 10 + 10, preloaded 10 + 30, limits 15
    assert ProofClock(plan).left_s == pytest.approx(2 + 10 + 20 + 40 + 15)
    assert ProofClock(ProofPlan(1, (COLD, PRELOADED), 1000, one=100.0, many=500.0)).left_s is None


def test_the_first_start_tells_how_long_the_others_take() -> None:
    clock = ProofClock(ProofPlan(1, (COLD, PRELOADED), 1000, one=100.0, many=500.0))
    clock.ended(PULL, 2.0)
    assert clock.left_s is None
    clock.ended(REHEARSAL, 4.0)
    assert clock.left_s == pytest.approx((10 + 4) + 4 + 6)


@given(
    st.integers(1, 4),
    st.sets(st.sampled_from(CONDITIONS), min_size=1).map(lambda some: tuple(one for one in CONDITIONS if one in some)),
    st.lists(st.floats(0, 100), min_size=40, max_size=40),
)
def test_nothing_is_left_after_all_steps(rounds: int, conditions: tuple[str, ...], took: list[float]) -> None:
    plan = ProofPlan(rounds, conditions, 1000)
    clock, times = ProofClock(plan), itertools.cycle(took)
    for round_ in range(1, rounds + 1):
        for step in plan.steps(round_):
            clock.ended(step, next(times))
    assert clock.left_s == 0
    assert {step for one in range(1, rounds + 1) for step in plan.steps(one)} >= set(conditions)
