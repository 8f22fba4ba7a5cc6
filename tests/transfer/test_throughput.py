"""A gauge reports a rate once it is steady, and not before."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.transfer.planning.concurrency import Ramp
from preheat.transfer.route import Measured, Route, Way
from preheat.transfer.throughput import ThroughputGauge

STEP_S = 0.05


def a_route() -> Route:
    snapshot = Snapshot(Ref.parse("me/x"), "0" * 40, (File("model.bin", 1000, sha256("0" * 64)),))
    return Route(Way("here", Folder(), snapshot), Ramp(), active=16, round_trip_s=0.002)


def watched(route: Route, rate: Callable[[float], float], until_s: float = 5.0) -> Iterator[tuple[float, Measured]]:
    """Let a route receive `rate(now)` bytes/s; yield the results of its gauge, with their times."""
    gauge = ThroughputGauge(route)
    for tick in range(int(until_s / STEP_S)):
        now = tick * STEP_S
        route.received += int(rate(now) * STEP_S)
        said = gauge.read(now, loaded=True)
        if said is not None:
            yield now, said


def asked(route: Route, cores: float, size: int) -> Measured:
    """Let a route respond to 500 requests of `size` bytes per second, while this process uses `cores` cores."""
    gauge = ThroughputGauge(route)
    for tick in range(100):
        route.answers += int(500 * STEP_S)
        route.received += int(500 * STEP_S) * size
        said = gauge.read(tick * STEP_S, loaded=True, cpu_s=cores * tick * STEP_S)
        if said is not None:
            return said
    raise AssertionError("it said nothing")


def test_small_files_that_keep_this_process_busy_need_no_more_connections() -> None:
    assert asked(a_route(), 1.0, 10_000).prompt
    assert not asked(a_route(), 0.5, 10_000).prompt
    assert not asked(a_route(), 1.0, 1_000_000).prompt  # large ones are hashed and decrypted on all cores
    far = a_route()
    far.round_trip_s = 0.05
    assert not asked(far, 1.0, 10_000).prompt


def test_a_steady_rate_is_reported_soon() -> None:
    now, said = next(watched(a_route(), lambda _: 100e6))
    assert now < 1
    assert 80e6 < said.rate < 120e6  # ticks are coarse


def test_a_growing_rate_is_not_reported() -> None:
    """As in TCP slow start: the rate doubles every fifth of a second, for two seconds."""
    now, said = next(watched(a_route(), lambda now: 100e6 * 2.0 ** (5 * min(now, 2.0))))
    assert now > 2
    assert said.rate > 90e9


def test_a_far_route_gets_more_round_trips_than_a_near_one() -> None:
    near, far = a_route(), a_route()
    far.trip_s = 0.08
    assert next(watched(far, lambda _: 1e6))[0] > next(watched(near, lambda _: 1e6))[0] + 0.3


def test_a_rate_that_has_doubled_with_the_connections_is_reported_at_once() -> None:
    route = a_route()
    route.ramp = replace(route.ramp, count=32, trying="more", paid=16, paid_rate=16e6)
    route.active, route.trip_s = 32, 0.02
    assert next(watched(route, lambda _: 32e6))[0] < 0.2
    route.answers += 1_000  # answers that have begun do not count as bytes here
    assert next(watched(route, lambda _: 16e6))[0] > 0.3


def test_idle_connections_report_nothing() -> None:
    route = a_route()
    route.active = 9
    assert not list(watched(route, lambda _: 1e6))


def test_connections_that_never_get_work_are_noticed() -> None:
    route = a_route()
    route.ramp = replace(route.ramp, count=64, trying="more")
    now, _ = next(watched(route, lambda _: 1e6))
    assert 1 < now < 3


def test_it_reports_when_bytes_wait_in_local_buffers() -> None:
    route = a_route()

    def brings(_: float) -> float:
        route.prompt = route.received
        return 1e6

    assert next(watched(route, brings))[1].prompt


def test_small_files_count_by_their_responses() -> None:
    route = a_route()

    def brings(_: float) -> float:
        route.answers += 50
        return 1e3

    assert next(watched(route, brings))[1].rate > 50e6
