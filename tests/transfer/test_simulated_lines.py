"""Properties of a fetch on any working line: no byte is sent twice, and the line is never idle."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.snapshot import File
from preheat.library.library import Library
from preheat.net.interrupt import Interrupt
from tests.transfer.simulated_line import LineTraits, SimulatedFetch

FILES = [File(f"{size}.bin", size, sha256(f"{size:064x}")) for size in (700_000, 6_000_000, 24_000_000, 80_000_000)]
WASTE = 1.02
# LINES=100000 tries that many lines.
FEW, MANY = 40, int(os.environ.get("LINES", "500"))


class Ground:
    """The library and files that simulated fetches share, so that each costs no more than its decisions."""

    def __init__(self, folder: Path) -> None:
        self.library = Library(folder)
        self.library.prepare(0)
        self.wires = [Interrupt() for _ in range(300)]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """A library with partials that are allocated once."""
    ground = Ground(tmp_path_factory.mktemp("simulated"))
    yield ground
    for wire in ground.wires:
        wire.close()


def obeys(ground: Ground, traits: LineTraits, files: list[File], ideal_s: float) -> None:
    """Fetch files over a line with these traits, whose rate is set so that the bytes alone take `ideal_s`."""
    size = sum(file.size for file in files)
    tick_s = max(ideal_s / 60, 0.05)
    came = SimulatedFetch(traits.at(size / ideal_s), ground.library, files, ground.wires).run(tick_s)
    ideal_s = max(ideal_s, size / (4 * traits.cap), size / (32 * most_with_losses(traits, tick_s)))
    assert came.carried <= WASTE * size, came
    # On no line does a fetch take several times as long as its bytes, delays and connection caps require.
    assert came.seconds <= 2.5 * ideal_s + 30 * traits.round_trip_s + 4 * traits.late_s + 15
    # One tick may pass between two requests, and while a file is opened or sealed.
    assert came.idle <= 2, came
    assert not came.events, came.events


def most_with_losses(traits: LineTraits, tick_s: float) -> float:
    """Return the bytes/s of a connection with a window of ten packets, which losses may leave it."""
    return 14_480 / (max(traits.round_trip_s, tick_s) + traits.lump_s) if traits.loss else float("inf")


LINES = st.builds(
    LineTraits,
    round_trip_s=st.sampled_from([0.02, 0.2]) | st.floats(0.001, 0.5),
    queue_s=st.sampled_from([0.1, 1.5, 6.0]) | st.floats(0.01, 8.0),
    cap=st.sampled_from([float("inf"), 1e6]) | st.floats(0.1e6, 20e6),
    late_s=st.sampled_from([0.0, 3.0]) | st.floats(0.0, 20.0),
    lump_s=st.sampled_from([0.0, 1.0]) | st.floats(0.1, 4.0),
    loss=st.sampled_from([0.0, 0.01]) | st.floats(0.0, 0.03),
)
SOME_FILES = st.lists(st.sampled_from(FILES), min_size=1, max_size=3, unique=True)
SECONDS = st.floats(0.5, 30.0)


# 50 Mbit/s, 200 ms: each of 192 new connections took the end of another's part; 2.4 times the bytes.
@example(LineTraits(round_trip_s=0.2, queue_s=1.5), [FILES[-1]], 13.0)
# 8 Mbit/s, 6 s of buffer: more bytes were in flight than a new response's average rate suggests.
@example(LineTraits(queue_s=6.0), [FILES[2]], 24.0)
# 330 Mbit/s, 1.9 s of buffer: connections were closed as surplus whose first bytes were still in the queue.
@example(LineTraits(queue_s=1.9375659642333392), [FILES[-1]], 1.9375659642333392)
# 240 Mbit/s that pauses each other second: no connection is slow while nothing arrives at all.
@example(LineTraits(cap=1e6, lump_s=1.0), FILES[:3], 0.5)
# Responses 3 s late before a queue of 6 s: the first sample of a rate ended before a rate was there.
@example(LineTraits(round_trip_s=0.008, queue_s=6.0, late_s=3.0), [FILES[-1]], 26.0)
@given(LINES, SOME_FILES, SECONDS)
@settings(max_examples=FEW, derandomize=True)
def test_no_byte_is_sent_twice_and_the_line_is_never_idle(
    ground: Ground, traits: LineTraits, files: list[File], ideal_s: float
) -> None:
    obeys(ground, traits, files, ideal_s)


@pytest.mark.parametrize("round_trip_s", [0.001, 0.02])
@pytest.mark.parametrize(("fills", "most"), [(20, 32), (60, 128)])  # the next power of two is tried
def test_limited_connections_fill_the_line_without_many_more_than_that_takes(
    ground: Ground, tmp_path: Path, fills: int, most: int, round_trip_s: float
) -> None:
    cap, ideal_s = 0.8e6, 10.0
    size = int(fills * cap * ideal_s)
    files = [File(f"{number}.bin", size // 4, sha256(f"{number:064x}")) for number in range(4)]
    library = Library(tmp_path / "library")
    library.prepare(0)
    traits = LineTraits(rate=fills * cap, round_trip_s=round_trip_s, cap=cap)
    came = SimulatedFetch(traits, library, files, ground.wires).run(0.01)
    shutil.rmtree(library.root)  # its partials have their whole size on disk
    # Starting takes round trips, which are not the line's.
    assert came.seconds <= ideal_s / 0.94 + 25 * round_trip_s
    assert came.most <= most
    assert came.carried <= 1.001 * size


@pytest.mark.slow
@pytest.mark.timeout(0 if "LINES" in os.environ else 120)
@given(LINES, SOME_FILES, SECONDS)
@settings(max_examples=MANY)
def test_the_same_holds_on_many_more_lines(
    ground: Ground, traits: LineTraits, files: list[File], ideal_s: float
) -> None:
    obeys(ground, traits, files, ideal_s)
