"""Line speed: the rate of a line, from when its bytes arrived."""

import pytest

from preheat.proof.limits.line_speed import Arrival, steady_rate


def arriving(rate: float, seconds: float, burst: int = 0, late_s: float = 0.0) -> list[Arrival]:
    """Return the arrivals of a download: a burst after `late_s`, then 10 kB at a time."""
    step = 10_000
    steps = int(rate * seconds / step)
    return [(100.0 + late_s, burst), *((100.0 + late_s + (n + 1) * step / rate, step) for n in range(steps))]


def test_a_steady_line_has_its_rate() -> None:
    assert steady_rate(100.0, arriving(1e6, 1.0)) == pytest.approx(1e6, rel=0.01)


def test_a_burst_before_the_limit_does_not_count() -> None:
    assert steady_rate(100.0, arriving(1e6, 1.0, burst=5_000_000)) == pytest.approx(1e6, rel=0.01)


def test_the_time_to_the_first_byte_does_not_count() -> None:
    assert steady_rate(100.0, arriving(1e6, 1.0, late_s=0.4)) == pytest.approx(1e6, rel=0.02)


def test_arrivals_of_several_connections_are_one_line() -> None:
    both = [*arriving(1e6, 1.0, burst=300_000), *arriving(1e6, 1.0, burst=300_000)]
    assert steady_rate(100.0, both) == pytest.approx(2e6, rel=0.02)


def test_what_came_in_one_piece_has_the_rate_of_all_of_it() -> None:
    assert steady_rate(100.0, [(100.5, 1_000_000)]) == pytest.approx(2e6)


def test_nothing_has_no_rate() -> None:
    assert steady_rate(100.0, []) == 0.0
