"""Laws of an app's life."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from preheat.guard.model.life import Action, Life, LifeSigns, RestartPolicy, step, stopped

looks = st.builds(LifeSigns, alive=st.booleans(), ready=st.booleans(), status=st.sampled_from([0, 1, 3, 127, -9, -15]))
patiences = st.builds(
    RestartPolicy,
    ready_within_s=st.floats(0.5, 50),
    max_restarts=st.integers(0, 5),
    steady_after_s=st.floats(1, 50),
    backoff_s=st.floats(0, 5),
    backoff_at_most_s=st.floats(0, 20),
)
times = st.lists(st.tuples(st.floats(0, 20), looks), max_size=60)


def live(patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]) -> list[tuple[float, Life, Action]]:
    """Step through what is seen, each after a pause."""
    life, now, steps = Life(), 0.0, []
    for pause, look in seen:
        now += pause
        life, action = step(life, look, now, patience)
        steps.append((now, life, action))
    return steps


def starts(steps: list[tuple[float, Life, Action]]) -> int:
    return sum(action == "start" for _, _, action in steps)


@given(patiences, times)
def test_an_app_that_is_never_steady_is_never_started_more_often_than_allowed(
    patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]
) -> None:
    never_steady = replace(patience, steady_after_s=1e9)
    assert starts(live(never_steady, seen)) <= 1 + patience.max_restarts


@given(patiences, times)
def test_every_further_round_of_restarts_is_paid_for_by_a_steady_time(
    patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]
) -> None:
    steps = live(patience, seen)
    steady_times = steps[-1][0] / patience.steady_after_s if steps else 0
    assert starts(steps) <= (1 + patience.max_restarts) + patience.max_restarts * steady_times


@given(patiences, times)
def test_the_starts_that_a_life_counts_are_the_starts_that_were_ordered(
    patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]
) -> None:
    steps = live(patience, seen)
    assert not steps or steps[-1][1].starts == starts(steps)


@given(patiences, times)
def test_what_is_over_stays_over(patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]) -> None:
    ended: Life | None = None
    for _, life, action in live(patience, seen):
        if ended is not None:
            assert (life, action) == (ended, "nothing")
        elif life.over:
            ended = life


@given(patiences, times)
def test_a_backoff_is_waited_out(patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]) -> None:
    before = Life()
    for now, life, action in live(patience, seen):
        if before.state == "backoff" and action == "start":
            assert now >= before.until
        before = life


@given(st.integers(0, 10_000), patiences)
def test_a_backoff_never_shrinks_and_never_passes_its_most(restarts: int, patience: RestartPolicy) -> None:
    assert patience.backoff(restarts) <= patience.backoff(restarts + 1) <= patience.backoff_at_most_s


def alive(*, ready: bool = False) -> LifeSigns:
    return LifeSigns(alive=True, ready=ready)


def dead(status: int) -> LifeSigns:
    return LifeSigns(alive=False, status=status)


def test_ready_for_a_second_and_dead_again_does_not_give_restarts_back() -> None:
    seen = [(0.0, alive())]
    for _ in range(9):
        seen += [(1.0, alive(ready=True)), (1.0, dead(1)), (60.0, dead(1))]
    steps = live(RestartPolicy(max_restarts=3), seen)
    assert starts(steps) == 4
    assert steps[-1][1].state == "fatal"


def test_ready_for_long_gives_the_restarts_back() -> None:
    seen = [(0.0, alive())]
    for _ in range(9):
        seen += [(1.0, alive(ready=True)), (31.0, dead(1)), (60.0, dead(1))]
    assert starts(live(RestartPolicy(max_restarts=1), seen)) == 10


def test_a_break_in_readiness_begins_the_steady_time_anew() -> None:
    life = Life("running", since=0.0, restarts=2, starts=3)
    life, _ = step(life, alive(ready=False), 20.0, RestartPolicy())
    life, _ = step(life, alive(ready=True), 40.0, RestartPolicy())
    assert life.restarts == 2
    life, _ = step(life, alive(ready=True), 50.0, RestartPolicy())
    assert life.restarts == 0


def test_an_app_that_ends_well_is_not_started_again_ready_or_not() -> None:
    for state in ("starting", "running"):
        life, action = step(Life(state, starts=1), dead(0), 1.0, RestartPolicy())
        assert (life.state, action, life.over) == ("stopped", "nothing", True)


def test_a_command_that_cannot_start_is_fatal_at_once() -> None:
    gone = LifeSigns(alive=False, status=127, cannot_start="nope: there is no such command")
    life, action = step(Life("starting", starts=1), gone, 0.0, RestartPolicy())
    assert (life.state, life.detail, action) == ("fatal", "nope: there is no such command", "nothing")


def test_an_app_that_is_not_ready_in_time_is_stopped_for_good() -> None:
    patience = RestartPolicy(ready_within_s=5)
    life = Life("starting", since=0.0, starts=1)
    assert step(life, alive(), 4.9, patience) == (life, "nothing")
    life, action = step(life, alive(), 5.0, patience)
    assert (life.state, action, life.detail) == ("fatal", "stop", "not ready within 5 s")


def test_a_life_ended_from_outside_is_over() -> None:
    assert stopped(Life("running", starts=1), 3.0, "stopped by SIGINT").over


def test_the_reason_of_a_fatal_end_says_how_it_ended_and_how_often_it_was_tried() -> None:
    life, _ = step(Life("running", starts=4, restarts=3), dead(-9), 1.0, RestartPolicy())
    assert life.detail == "killed by SIGKILL (out of memory?); started 4 times"


def failed(status: int, end_kind: str) -> LifeSigns:
    return LifeSigns(alive=False, status=status, end_kind=end_kind)


def test_a_start_up_that_fails_in_the_same_way_is_not_tried_for_ever() -> None:
    seen = [(0.0, alive())]
    for _ in range(20):
        seen += [(1.0, alive()), (1.0, failed(1, "bad config")), (60.0, alive())]
    steps = live(RestartPolicy(max_restarts=-1, same_failures=3), seen)
    assert starts(steps) == 3
    assert steps[-1][1].detail == "ended with status 1; 3 times in a row in the same way, before the app was ready"


def test_failures_that_differ_or_come_after_it_was_ready_are_tried_again() -> None:
    differing = [(0.0, alive())]
    used = [(0.0, alive())]
    for count in range(9):
        differing += [(1.0, alive()), (1.0, failed(1, f"reason {count}")), (60.0, alive())]
        used += [(1.0, alive(ready=True)), (1.0, failed(1, "the same")), (60.0, alive())]
    unlimited = RestartPolicy(max_restarts=-1)
    assert starts(live(unlimited, differing)) == starts(live(unlimited, used)) == 10


def test_what_is_silent_for_too_long_is_started_anew_and_that_counts() -> None:
    patience = RestartPolicy(hang_after_s=10, max_restarts=1)
    life = Life("running", since=0.0, starts=1)
    assert step(life, LifeSigns(alive=True, ready=False, silent_s=9.9), 20.0, patience)[1] == "nothing"
    life, action = step(life, LifeSigns(alive=True, ready=False, silent_s=10), 20.0, patience)
    assert (life.state, action, life.restarts) == ("backoff", "stop", 1)
    assert life.detail == "running, but not responding for 10 s; restarts in 1 s"
    again = Life("running", since=30.0, starts=2, restarts=1)
    life, action = step(again, LifeSigns(alive=True, ready=False, silent_s=11), 50.0, patience)
    assert (life.state, action) == ("fatal", "stop")


def test_one_that_stands_by_takes_over_without_a_wait_and_is_paid_for() -> None:
    life = Life("running", since=0.0, starts=1)
    life, action = step(life, LifeSigns(alive=False, status=1, spare=True), 5.0, RestartPolicy())
    assert (life.state, action, life.restarts, life.starts) == ("starting", "start", 1, 2)
    hung = LifeSigns(alive=True, silent_s=99, spare=True)
    assert step(Life("running", starts=1), hung, 5.0, RestartPolicy(hang_after_s=9))[1] == "restart"


@given(st.integers(0, 8), st.floats(0, 1, exclude_max=True), patiences)
def test_chance_only_ever_shortens_a_wait_and_never_by_more_than_the_jitter(
    restarts: int, chance: float, patience: RestartPolicy
) -> None:
    unlimited = replace(patience, max_restarts=-1)
    life, _ = step(Life("running", restarts=restarts), LifeSigns(alive=False, status=1, chance=chance), 0.0, unlimited)
    whole = patience.backoff(restarts)
    assert whole * (1 - patience.jitter) <= life.until <= whole


def test_without_a_limit_restarts_are_never_spent() -> None:
    assert not RestartPolicy(max_restarts=-1).used_up(10**6)
    assert RestartPolicy(max_restarts=2).used_up(2)
