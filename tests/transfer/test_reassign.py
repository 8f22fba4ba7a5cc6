"""Laws of handing over: who lags is relieved, who is given more time is left alone, and each byte stays one's own."""

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
    return Route(Way("here", Folder(), snapshot), Ramp(count=2), rate=USUAL, round_trip_s=0.02)


@pytest.fixture
def download(tmp_path: Path) -> Download:
    descriptor = take(tmp_path / "x.part")
    assert descriptor is not None
    partial = Partial(str(tmp_path / "x.part"), FILE, descriptor)
    partial.close()
    return Download(partial, [])


def flying(download: Download, route: Route, start: int, brought: int) -> Flight:
    """Return a flight of 20 MB that began a second before 1.0, and has brought so much."""
    flight = Flight(download, route, start, start + 20_000_000, began=0.0, answer_s=0.02 if brought else 0.0)
    flight.pledge(brought)
    flight.at += brought
    download.flights.add(flight)
    route.active += 1
    return flight


def test_who_lags_far_behind_is_relieved_of_all_that_is_left(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    handed = Moves(PLENTY).rescue([flying(download, route, 50_000_000, 9_000_000), slow], Routes(route), 1.0)
    assert handed is not None
    assert handed.giver is slow
    assert handed.rest == (1_000_000, 20_000_000)
    assert slow.stop == slow.at


def test_who_brings_a_fair_share_is_left_alone(download: Download, route: Route) -> None:
    assert Moves(PLENTY).rescue([flying(download, route, 0, 4_000_000)], Routes(route), 1.0) is None


def test_on_a_line_that_holds_all_back_nobody_is_relieved(download: Download, route: Route) -> None:
    route.rate = 1e6
    flights = [flying(download, route, n * 20_000_000, 10_000) for n in range(4)]
    assert Moves(PLENTY).rescue(flights, Routes(route), 1.0) is None
    assert Moves(PLENTY).shed(flights, route, 1.0) == []


def test_who_was_given_more_time_is_left_alone_until_it_is_over(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    slow.settled_s = 2.0
    assert Moves(PLENTY).rescue([slow], Routes(route), 1.0) is None
    assert Moves(PLENTY).rescue([slow], Routes(route), 2.5) is not None


def test_who_waits_for_a_first_byte_does_not_lag(download: Download, route: Route) -> None:
    assert Moves(PLENTY).rescue([flying(download, route, 0, 0)], Routes(route), 1.0) is None


def test_of_who_brings_a_whole_file_for_its_holes_nothing_is_taken(download: Download, route: Route) -> None:
    whole = flying(download, route, 0, 1_000)
    whole.holes = (ByteRange(0, 1_000), ByteRange(10_000_000, 20_000_000))
    assert Moves(PLENTY).take_over([whole], route, 1.0) is None
    assert Moves(PLENTY).take_over([flying(download, route, 40_000_000, 1_000)], route, 1.0) is not None


def test_who_is_late_because_of_this_machine_is_left_alone(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    slow.prompt = True
    assert Moves(PLENTY).rescue([slow], Routes(route), 1.0) is None


def test_no_more_are_shed_than_are_too_many_and_only_slow_ones(download: Download, route: Route) -> None:
    flights = [flying(download, route, n * 20_000_000, brought) for n, brought in enumerate((9_000_000, 10, 20, 30))]
    given = Moves(PLENTY).shed(flights, route, 1.0)
    assert [flight for flight, _ in given] == flights[1:3]
    assert Moves(PLENTY).shed(flights[:1], route, 1.0) == []


def test_no_part_changes_hands_when_too_much_would_be_sent_in_vain(download: Download, route: Route) -> None:
    slow = flying(download, route, 0, 1_000_000)
    assert Moves(100_000).rescue([flying(download, route, 50_000_000, 9_000_000), slow], Routes(route), 1.0) is None
    flights = [
        flying(download, route, n * 20_000_000, brought)
        for n, brought in enumerate((9_000_000, 100_000, 200_000, 300_000))
    ]
    assert Moves(100_000).shed(flights, route, 1.0) == []
