"""Proof plan: its steps, and how long they will take."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from preheat.proof.start.timeline import COLD, CONDITIONS, EVERYWHERE, PRELOADED, RESTART, THAWED, WARM
from preheat.verbs.proving.proof_plan import LIMITS, PULL, REHEARSAL, Estimate, ProofClock, ProofPlan


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
    left = ProofClock(plan).left()
    # pull 2, rehearsal 10, cold 10 + 10, preloaded 10 + 30, limits 15
    assert left.least < 2 + 10 + 20 + 40 + 15 < (left.most or 0)
    busy = ProofClock(replace(plan, load=4.0)).left()
    assert busy.least == left.least
    assert (busy.most or 0) > (left.most or 0)


def test_without_a_start_only_the_least_time_is_known() -> None:
    left = ProofClock(ProofPlan(1, (COLD, PRELOADED), 1000, one=100.0, many=500.0, observe_s=30)).left()
    assert left.most is None
    assert left.likely is None
    assert left.least >= 30


def test_the_first_start_tells_how_long_the_others_take() -> None:
    clock = ProofClock(ProofPlan(1, (COLD, PRELOADED), 1000, one=100.0, many=500.0))
    clock.ended(PULL, 2.0)
    assert clock.left().most is None
    clock.ended(REHEARSAL, 4.0)
    left = clock.left()
    assert left.least < (10 + 4) + 4 + 6 < (left.most or 0)


def test_the_range_narrows_while_the_proof_runs() -> None:
    plan = ProofPlan(3, (PRELOADED, WARM), 0, start_s=10)
    clock, widths = ProofClock(plan), []
    for round_ in range(1, 4):
        left = clock.left()
        widths.append(((left.most or 0) - left.least) / (left.likely or 1))
        for step in plan.steps(round_):
            clock.ended(step, 15.0)
    assert widths == sorted(widths, reverse=True)
    assert widths[1] < 0.5 < widths[0]


def test_a_slower_start_than_expected_makes_the_others_expected_slower() -> None:
    plan = ProofPlan(1, (PRELOADED, WARM, RESTART), 0, start_s=10)
    slow, usual = ProofClock(plan), ProofClock(plan)
    for clock, seconds in ((slow, 60.0), (usual, 12.0)):
        clock.ended(PULL, 0.0)
        clock.ended(PRELOADED, seconds)
    assert slow.left().least > usual.left().least
    assert (slow.left().most or 0) > (usual.left().most or 0)


def test_a_short_step_says_little_about_the_others() -> None:
    clock = ProofClock(ProofPlan(1, (PRELOADED, WARM), 1000, start_s=10, many=1e9))
    before = clock.left()
    clock.ended(PULL, 0.6)
    assert (clock.left().most or 0) < 1.2 * (before.most or 0)


def test_a_start_of_the_proof_was_measured_under_its_load() -> None:
    plans = [ProofPlan(1, (PRELOADED, WARM), 0, load=load) for load in (1.0, 8.0)]
    left = []
    for clock in map(ProofClock, plans):
        clock.ended(PULL, 0.0)
        clock.ended(PRELOADED, 25.0)
        left.append(clock.left())
    assert left[0] == left[1]
    assert (left[0].most or 0) < 5 * left[0].least


def test_time_passes_and_a_step_that_is_late_is_given_more() -> None:
    clock = ProofClock(ProofPlan(1, (COLD,), 0, start_s=10))
    whole = clock.left()
    assert whole.most is not None
    assert clock.left(5.0) == Estimate(whole.least - 5, whole.most - 5)
    assert clock.left(whole.most + 100).least == 0
    assert (clock.left(whole.most + 100).most or 0) > 0


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
    assert clock.left() == Estimate(0.0, 0.0)
    assert {step for one in range(1, rounds + 1) for step in plan.steps(one)} >= set(conditions)
