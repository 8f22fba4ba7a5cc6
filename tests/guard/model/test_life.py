"""Properties of the life cycle of an app."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from preheat.guard.model.life import Action, Life, LifeSigns, RestartPolicy, step, stopped

# Hypothesis would guess the fields of a named tuple that have defaults.
looks = st.builds(
    partial(LifeSigns), alive=st.booleans(), ready=st.booleans(), status=st.sampled_from([0, 1, 3, 127, -9, -15])
)
patiences = st.builds(
    partial(RestartPolicy),
    ready_within_s=st.floats(0.5, 50),
    max_restarts=st.integers(0, 5),
    steady_after_s=st.floats(1, 50),
    backoff_s=st.floats(0, 5),
    backoff_at_most_s=st.floats(0, 20),
)
times = st.lists(st.tuples(st.floats(0, 20), looks), max_size=60)


def live(patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]) -> list[tuple[float, Life, Action]]:
    """Call `step` with each observation, each after a pause."""
    life, now, steps = Life(), 0.0, []
    for pause, look in seen:
        now += pause
        life, action = step(life, look, now, patience)
        steps.append((now, life, action))
    return steps


def starts(steps: list[tuple[float, Life, Action]]) -> int:
    return sum(action == "start" for _, _, action in steps)


@given(patiences, times)
def test_an_app_that_is_never_steady_is_not_started_more_often_than_allowed(
    patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]
) -> None:
    never_steady = patience._replace(steady_after_s=1e9)
    assert starts(live(never_steady, seen)) <= 1 + patience.max_restarts


@given(patiences, times)
def test_restarts_are_granted_again_only_after_a_steady_time(
    patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]
) -> None:
    steps = live(patience, seen)
    steady_times = steps[-1][0] / patience.steady_after_s if steps else 0
    assert starts(steps) <= (1 + patience.max_restarts) + patience.max_restarts * steady_times


@given(patiences, times)
def test_the_start_count_equals_the_number_of_start_actions(
    patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]
) -> None:
    steps = live(patience, seen)
    assert not steps or steps[-1][1].starts == starts(steps)


@given(patiences, times)
def test_a_final_state_never_changes(patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]) -> None:
    ended: Life | None = None
    for _, life, action in live(patience, seen):
        if ended is not None:
            assert (life, action) == (ended, "nothing")
        elif life.over:
            ended = life


@given(patiences, times)
def test_the_back_off_is_waited_for(patience: RestartPolicy, seen: list[tuple[float, LifeSigns]]) -> None:
    before = Life()
    for now, life, action in live(patience, seen):
        if before.state == "backoff" and action == "start":
            assert now >= before.until
        before = life


@given(st.integers(0, 10_000), patiences)
def test_the_back_off_never_shrinks_and_never_exceeds_its_maximum(restarts: int, patience: RestartPolicy) -> None:
    assert patience.backoff(restarts) <= patience.backoff(restarts + 1) <= patience.backoff_at_most_s


def alive(*, ready: bool = False) -> LifeSigns:
    return LifeSigns(alive=True, ready=ready)


def dead(status: int) -> LifeSigns:
    return LifeSigns(alive=False, status=status)


def test_being_ready_for_a_second_does_not_reset_the_restart_count() -> None:
    seen = [(0.0, alive())]
    for _ in range(9):
        seen += [(1.0, alive(ready=True)), (1.0, dead(1)), (60.0, dead(1))]
    steps = live(RestartPolicy(max_restarts=3), seen)
    assert starts(steps) == 4
    assert steps[-1][1].state == "fatal"


def test_being_ready_for_long_resets_the_restart_count() -> None:
    seen = [(0.0, alive())]
    for _ in range(9):
        seen += [(1.0, alive(ready=True)), (31.0, dead(1)), (60.0, dead(1))]
    assert starts(live(RestartPolicy(max_restarts=1), seen)) == 10


def test_a_break_in_readiness_restarts_the_steady_time() -> None:
    life = Life("running", since=0.0, restarts=2, starts=3)
    life, _ = step(life, alive(ready=False), 20.0, RestartPolicy())
    life, _ = step(life, alive(ready=True), 40.0, RestartPolicy())
    assert life.restarts == 2
    life, _ = step(life, alive(ready=True), 50.0, RestartPolicy())
    assert life.restarts == 0


def test_an_app_that_exits_with_0_is_not_restarted_ready_or_not() -> None:
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


def test_a_life_stopped_from_outside_is_over() -> None:
    assert stopped(Life("running", starts=1), 3.0, "stopped by SIGINT").over


def test_the_reason_of_a_fatal_end_has_the_exit_and_the_number_of_starts() -> None:
    life, _ = step(Life("running", starts=4, restarts=3), dead(-9), 1.0, RestartPolicy())
    assert life.detail == "killed by SIGKILL (out of memory?); started 4 times"


def failed(status: int, end_kind: str) -> LifeSigns:
    return LifeSigns(alive=False, status=status, end_kind=end_kind)


def test_start_ups_that_fail_in_the_same_way_are_not_retried_forever() -> None:
    seen = [(0.0, alive())]
    for _ in range(20):
        seen += [(1.0, alive()), (1.0, failed(1, "bad config")), (60.0, alive())]
    steps = live(RestartPolicy(max_restarts=-1, same_failures=3), seen)
    assert starts(steps) == 3
    assert steps[-1][1].detail == "ended with status 1; 3 times in a row in the same way, before the app was ready"


def test_different_failures_and_failures_after_readiness_are_retried() -> None:
    differing = [(0.0, alive())]
    used = [(0.0, alive())]
    for count in range(9):
        differing += [(1.0, alive()), (1.0, failed(1, f"reason {count}")), (60.0, alive())]
        used += [(1.0, alive(ready=True)), (1.0, failed(1, "the same")), (60.0, alive())]
    unlimited = RestartPolicy(max_restarts=-1)
    assert starts(live(unlimited, differing)) == starts(live(unlimited, used)) == 10


def test_a_silent_app_is_restarted_and_the_restart_counts() -> None:
    patience = RestartPolicy(hang_after_s=10, max_restarts=1)
    life = Life("running", since=0.0, starts=1)
    assert step(life, LifeSigns(alive=True, ready=False, silent_s=9.9), 20.0, patience)[1] == "nothing"
    life, action = step(life, LifeSigns(alive=True, ready=False, silent_s=10), 20.0, patience)
    assert (life.state, action, life.restarts) == ("backoff", "stop", 1)
    assert life.detail == "running, but not responding for 10 s; restarts in 1 s"
    again = Life("running", since=30.0, starts=2, restarts=1)
    life, action = step(again, LifeSigns(alive=True, ready=False, silent_s=11), 50.0, patience)
    assert (life.state, action) == ("fatal", "stop")


def test_a_standby_takes_over_without_a_wait_and_counts_as_a_restart() -> None:
    life = Life("running", since=0.0, starts=1)
    life, action = step(life, LifeSigns(alive=False, status=1, spare=True), 5.0, RestartPolicy())
    assert (life.state, action, life.restarts, life.starts) == ("starting", "start", 1, 2)
    hung = LifeSigns(alive=True, silent_s=99, spare=True)
    assert step(Life("running", starts=1), hung, 5.0, RestartPolicy(hang_after_s=9))[1] == "restart"


@given(st.integers(0, 8), st.floats(0, 1, exclude_max=True), patiences)
def test_jitter_only_shortens_a_wait_and_by_at_most_its_share(
    restarts: int, chance: float, patience: RestartPolicy
) -> None:
    unlimited = patience._replace(max_restarts=-1)
    life, _ = step(Life("running", restarts=restarts), LifeSigns(alive=False, status=1, chance=chance), 0.0, unlimited)
    whole = patience.backoff(restarts)
    assert whole * (1 - patience.jitter) <= life.until <= whole


def test_without_a_limit_restarts_are_never_used_up() -> None:
    assert not RestartPolicy(max_restarts=-1).used_up(10**6)
    assert RestartPolicy(max_restarts=2).used_up(2)


def test_a_lasting_failure_ends_the_first_start_up_only() -> None:
    lasting = LifeSigns(alive=False, status=1, lasting=True)
    first = live(RestartPolicy(), [(0.0, alive()), (1.0, lasting)])
    assert (starts(first), first[-1][1].state) == (1, "fatal")
    assert first[-1][1].detail == "ended with status 1; a restart would end in the same way"
    upgraded = [(0.0, alive()), (1.0, alive(ready=True)), (1.0, dead(-9)), (60.0, dead(1)), (1.0, lasting)]
    assert live(RestartPolicy(), upgraded)[-1][1].state == "backoff"
