"""Moving parts between connections: lagging ones lose theirs, others keep them, and each byte has one writer."""

from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.partial import Partial
from preheat.library.blobs.ranges import ByteRange
from preheat.transfer.part_download import Download, Flight
from preheat.transfer.planning.concurrency import Ramp
from preheat.transfer.reassign import Moves
from preheat.transfer.route import Route, Way
from preheat.transfer.route_set import Routes

SIZE = 100_000_000
FILE = File("model.bin", SIZE, sha256("0" * 64))
USUAL = 10e6
PLENTY = 1 << 40


@pytest.fixture
def route() -> Route:
    snapshot = Snapshot(Ref.parse("me/x"), "0" * 40, (FILE,))
    return Route(Way("here", Folder(), snapshot), Ramp(count=2), rate=USUAL, round_trip_s=0.02, received_at=1.0)


@pytest.fixture
def download(tmp_path: Path) -> Download:
    descriptor = take(tmp_path / "x.part")
    assert descriptor is not None
    partial = Partial(str(tmp_path / "x.part"), FILE, descriptor)
    partial.close()
    return Download(partial, [])


def flying(download: Download, route: Route, start: int, brought: int) -> Flight:
    """Return a flight of 20 MB that began a second before 1.0, and has received `brought` bytes."""
    flight = Flight(download, route, start, start + 20_000_000, began=0.0, answer_s=0.02 if brought else 0.0)
    flight.pledge(brought)
    flight.at += brought
    download.flights.add(flight)
    route.active += 1
    return flight


def test_a_connection_that_lags_far_behind_loses_the_rest_of_its_part(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    handed = Moves(PLENTY).rescue([flying(download, route, 50_000_000, 9_000_000), slow], Routes(route), 1.0)
    assert handed is not None
    assert handed.from_flight is slow
    assert handed.rest == (1_000_000, 20_000_000)
    assert slow.stop == slow.at


def test_a_connection_with_a_fair_rate_keeps_its_part(download: Download, route: Route) -> None:
    assert Moves(PLENTY).rescue([flying(download, route, 0, 4_000_000)], Routes(route), 1.0) is None


def test_on_a_line_that_limits_all_no_part_is_moved(download: Download, route: Route) -> None:
    route.rate = 1e6
    flights = [flying(download, route, n * 20_000_000, 10_000) for n in range(4)]
    assert Moves(PLENTY).rescue(flights, Routes(route), 1.0) is None
    assert Moves(PLENTY).shed(flights, route, 1.0) == []


def test_a_moved_part_is_not_moved_again_before_its_extra_time_is_over(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    slow.settled_s = 2.0
    assert Moves(PLENTY).rescue([slow], Routes(route), 1.0) is None
    assert Moves(PLENTY).rescue([slow], Routes(route), 2.5) is None, "the line itself pauses"
    route.received_at = 2.5
    assert Moves(PLENTY).rescue([slow], Routes(route), 2.5) is not None


def test_a_connection_that_waits_for_its_first_byte_does_not_lag(download: Download, route: Route) -> None:
    assert Moves(PLENTY).rescue([flying(download, route, 0, 0)], Routes(route), 1.0) is None


def test_nothing_is_taken_from_a_connection_that_sends_a_whole_file(download: Download, route: Route) -> None:
    whole = flying(download, route, 0, 1_000)
    whole.holes = (ByteRange(0, 1_000), ByteRange(10_000_000, 20_000_000))
    assert Moves(PLENTY).take_over([whole], route, 1.0) is None
    assert Moves(PLENTY).take_over([flying(download, route, 40_000_000, 1_000)], route, 1.0) is not None


def test_a_connection_that_is_slow_because_of_this_machine_keeps_its_part(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    slow.prompt = True
    assert Moves(PLENTY).rescue([slow], Routes(route), 1.0) is None


def test_only_surplus_and_slow_connections_are_closed(download: Download, route: Route) -> None:
    flights = [flying(download, route, n * 20_000_000, brought) for n, brought in enumerate((9_000_000, 10, 20, 30))]
    given = Moves(PLENTY).shed(flights, route, 1.0)
    assert [flight for flight, _ in given] == flights[1:3]
    assert Moves(PLENTY).shed(flights[:1], route, 1.0) == []


def test_no_part_is_moved_when_too_many_bytes_would_be_wasted(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    assert Moves(100_000).rescue([flying(download, route, 50_000_000, 9_000_000), slow], Routes(route), 1.0) is None
    flights = [
        flying(download, route, n * 20_000_000, brought)
        for n, brought in enumerate((9_000_000, 100_000, 200_000, 300_000))
    ]
    assert Moves(100_000).shed(flights, route, 1.0) == []
