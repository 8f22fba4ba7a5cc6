"""Properties of the ramp: it finds the best number of connections for a network, and stays within its bounds."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.transfer.planning.concurrency import FEWEST, Ramp


def settled(line: Callable[[int], float], ceiling: int = 256, steps: int = 30) -> Ramp:
    """Step a ramp until it settles, on a network that yields `line(count)` bytes/s."""
    ramp = Ramp.of(ceiling)
    for _ in range(steps):
        ramp = ramp.step(line(ramp.count))
        if ramp.trying == "settled":
            return ramp
    return ramp


@pytest.mark.parametrize(
    ("line", "fewest", "most"),
    [
        (lambda count: min(count * 1e6, 200e6), 200, 256),  # 1 MB/s a connection, 200 MB/s in all
        (lambda count: 1e9, FEWEST, FEWEST),  # one connection fills the line
        (lambda count: min(count, 20) * 1e6, 20, 26),
        (lambda count: min(count, 40) * 1e6, 40, 52),
        (lambda count: min(count, 100) * 0.1e6, 100, 130),
        (lambda count: count * 1e6, 256, 256),  # nothing but the ceiling stops it
    ],
)
def test_it_settles_where_more_connections_bring_no_gain_and_fewer_bring_less(
    line: Callable[[int], float], fewest: int, most: int
) -> None:
    assert fewest <= settled(line).count <= most


@given(st.lists(st.floats(0, 1e10), max_size=60), st.integers(1, 300))
def test_the_count_stays_between_one_and_the_ceiling(rates: list[float], ceiling: int) -> None:
    ramp = Ramp.of(ceiling)
    for rate in rates:
        ramp = ramp.step(rate)
        assert 1 <= ramp.count <= ceiling


def test_few_or_slow_connections_that_are_all_limited_soon_become_many() -> None:
    assert Ramp.of(256, 6).step(6e6).count == 24
    assert Ramp.of(256, 16).step(1.6e6).count == 64
    assert Ramp.of(256, 16).step(16e6).count == 32


@pytest.mark.parametrize("fills", [12, 20, 40, 75, 100, 200])
def test_a_line_with_limited_connections_never_has_twice_what_fills_it_and_later_half_as_many_more(fills: int) -> None:
    ramp, settled_once = Ramp.of(256, 6), False
    for _ in range(400):
        ramp = ramp.step(min(ramp.count, fills) * 1e6)
        settled_once |= ramp.trying == "settled"
        assert ramp.count <= (1.5 * fills + 2 if settled_once else 2 * fills)
    assert ramp.paid >= fills


def test_a_number_that_proves_too_small_is_increased_again_at_once() -> None:
    # 6 connections seemed to bring 2 MB/s each, because this machine was late; each brings 1.
    ramp = Ramp.of(256, 6).step(12e6)
    for _ in range(8):
        ramp = ramp.step(min(ramp.count * 1e6, 200e6))
    assert ramp.count >= 200


def test_connections_that_were_needed_are_not_closed_on_trial() -> None:
    ramp = settled(lambda count: min(count * 1e6, 200e6))
    for _ in range(400):
        ramp = ramp.step(min(ramp.count * 1e6, 200e6))
        assert ramp.count >= 200


def test_on_a_far_line_it_begins_with_more_unless_it_has_begun_already() -> None:
    assert Ramp.of(256, 6).at_least(16) == Ramp.of(256, 16)
    assert Ramp.of(4, 6).at_least(16).count == 4
    begun = Ramp.of(256, 6).step(6e6)
    assert begun.at_least(200) == begun


def test_where_local_buffers_have_bytes_no_more_connections_are_tried() -> None:
    ramp = Ramp.of(256)
    for _ in range(60):
        ramp = ramp.step(1e9, prompt=True)
        assert ramp.count <= 16
    assert ramp.count == FEWEST


def test_a_machine_that_is_late_does_not_take_a_slow_line_for_a_fast_one() -> None:
    ramp = Ramp.of(256)
    for _ in range(5):
        ramp = ramp.step(ramp.count * 1e6, prompt=True)
    assert ramp.count == 256


def test_a_full_line_shared_by_more_connections_is_not_given_more() -> None:
    assert settled(lambda count: min(count * 50e6, 1.1e9)).count <= 32


def test_a_line_that_becomes_faster_is_noticed() -> None:
    ramp = settled(lambda count: min(count, 16) * 1e6)
    for _ in range(200):
        ramp = ramp.step(min(ramp.count * 1e6, 200e6))
    assert ramp.count >= 200


def test_a_hub_that_asks_to_slow_down_gets_fewer_connections_for_good() -> None:
    ramp = settled(lambda count: count * 1e6).halved()
    assert ramp.count == 128
    for _ in range(50):
        ramp = ramp.step(1e9)
        assert ramp.count <= 128


def test_a_hub_that_refuses_more_is_tried_with_more_at_longer_and_longer_intervals() -> None:
    ramp, trials = settled(lambda count: count * 1e6), []
    for step in range(6_000):
        if ramp.count > 3:
            trials.append(step)
            ramp = ramp.at_most(3)
        ramp = ramp.step(3e6)
        assert ramp.count <= 12
    pauses = [later - sooner for sooner, later in itertools.pairwise(trials)]
    assert pauses == sorted(pauses)
    assert len(trials) < 12
