"""Properties of a flight: each byte is written by one thread only, whatever the threads do."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.partial import Partial
from preheat.transfer.part_download import Download, Flight
from preheat.transfer.planning.concurrency import Ramp
from preheat.transfer.route import Route, Way

FILE = File("model.bin", 1000, sha256("0" * 64))


def flight(folder: Path) -> Flight:
    descriptor = take(folder / "x.part")
    assert descriptor is not None
    snapshot = Snapshot(Ref.parse("me/x"), "0" * 40, (FILE,))
    partial = Partial(str(folder / "x.part"), FILE, descriptor)
    partial.close()
    return Flight(Download(partial, []), Route(Way("here", Folder(), snapshot), Ramp()), 0, 1000)


@given(
    story=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.integers(1, 300)),
            st.tuples(st.just("pledge"), st.integers(1, 300)),
            st.tuples(st.just("cut"), st.integers(0, 1000)),
        )
    )
)
def test_no_byte_is_written_by_two_threads(story: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        flying = flight(Path(folder))
    given_away: set[int] = set()
    for what, number in story:
        match what:
            case "cut":
                start, stop = flying.give_up(number)
                assert not given_away & set(range(start, stop))
                given_away |= set(range(start, stop))
            case "pledge":
                flying.pledge(number)
            case _:
                count = flying.pledge(number)
                assert not given_away & set(range(flying.at, flying.at + count))
                flying.at += count


def test_no_flight_is_judged_by_the_first_bytes_after_the_headers(tmp_path: Path) -> None:
    flying = flight(tmp_path)
    flying.began, flying.answer_s = 100.0, 0.01
    flying.at = flying.pledged = 1
    # A byte in ten milliseconds: at this rate, ten seconds for the rest.
    assert flying.left_s(100.01) > 9
    assert flying.hand_over(1e6, 100.01, 1 << 30) is None
    assert flying.hand_over(1e6, 100.5, 1 << 30) is not None


def test_no_part_is_moved_when_too_many_bytes_in_flight_would_be_wasted(tmp_path: Path) -> None:
    flying = flight(tmp_path)
    flying.began, flying.answer_s = 100.0, 0.01
    flying.at = flying.pledged = 1
    assert flying.hand_over(1e6, 100.5, 3) is None
