"""Progress on a terminal and in a log: no bar without movement, never over its total, one line a minute."""

import io
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.cli.output.human import HumanConsole
from preheat.cli.output.progress import DownloadRate
from preheat.cli.output.progress_line import progress_words
from preheat.core.digest import Digest
from preheat.core.errors import PreheatError
from preheat.core.events import Away, Event, Read, Reading, Received, TrialProgress, Waiting
from preheat.core.pulls.planned_pull import Planned
from preheat.core.snapshot import File

FILE = File("model.safetensors", 100_000_000, Digest("sha256", "0" * 64))
BAR = "━"


class Screen(io.StringIO):
    """A terminal that keeps what is drawn."""

    def isatty(self) -> bool:
        return True

    def take(self) -> str:
        """Return what was drawn since the last call."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the console sees, which a test sets."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


Terminal = Callable[[], tuple[HumanConsole, Screen]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A function that returns a console, and the terminal that it draws on."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    def console() -> tuple[HumanConsole, Screen]:
        # In the test itself: pytest has a stderr of its own for each phase.
        screen = Screen()
        monkeypatch.setattr(sys, "stderr", screen)
        return HumanConsole(1), screen

    return console


def after(console: HumanConsole, clock: list[float], seconds: float, event: Event) -> None:
    clock[0] += seconds
    console(event)


def test_a_bar_comes_with_the_first_bytes_and_goes_with_the_last(terminal: Terminal, clock: list[float]) -> None:
    console, screen = terminal()
    console(Planned(1, 100_000_000, 1, 100_000_000))
    assert BAR not in screen.take(), "nothing has moved yet"
    after(console, clock, 1, Received(FILE, 50_000_000))
    drawn = screen.take()
    assert BAR in drawn
    assert "50.0 MB of 100.0 MB" in drawn
    after(console, clock, 1, Received(FILE, 50_000_000))
    assert screen.take().endswith("\x1b[?25h\r\x1b[1A\x1b[2K"), "it is removed, as what follows does not move it"


def test_the_bar_of_a_step_does_not_stand_in_the_next_one(terminal: Terminal, clock: list[float]) -> None:
    console, screen = terminal()
    console(Reading("verify", 1, 100_000_000))
    after(console, clock, 1, Read(50_000_000))
    screen.take()
    console(Reading("adopt", 1, 7_000_000))
    assert screen.take().endswith("7.0 MB in 1 file to adopt\n")
    after(console, clock, 1, Read(1_000_000))
    assert "1.0 MB of 7.0 MB" in screen.take()
    console.close()


def test_waits_have_words_and_no_bar_of_their_own(terminal: Terminal, clock: list[float]) -> None:
    console, screen = terminal()
    console(Planned(1, 100_000_000, 1, 100_000_000))
    after(console, clock, 1, Received(FILE, 50_000_000))
    screen.take()
    console(Away("hub", "hub.test does not answer", 4, 290))
    drawn = screen.take()
    assert BAR not in drawn.rpartition("\x1b[?25l")[2]
    assert "retrying in 4 s, giving up in 4 min 50 s" in drawn
    console(TrialProgress("talk", 3.0, None))
    assert BAR not in screen.take()
    after(console, clock, 2, Waiting(FILE, 25_000_000))
    drawn = screen.take()
    assert BAR in drawn, "another process moves it"
    assert "another process is downloading model.safetensors: 25.0 MB of 100.0 MB" in drawn
    assert "\n" not in drawn.rpartition("another process")[2], "it is drawn in place, and no line for a log"
    console.close()


@pytest.mark.parametrize(
    "event",
    [Received(FILE, 10), Waiting(FILE, 10), Away("hub", "away", 1, 9)],
    ids=lambda event: type(event).__name__,
)
def test_a_log_has_a_line_a_minute(event: Event, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    console = HumanConsole(1)
    console(Planned(1, 100_000_000, 1, 100_000_000))
    console(event)
    first = len(log.getvalue().splitlines())
    for _ in range(300):
        after(console, clock, 1, event)
    lines = log.getvalue().splitlines()
    assert len(lines) - first == 5, lines
    assert all("\x1b" not in line for line in lines)


def test_a_stalled_download_shows_for_how_long() -> None:
    pace = DownloadRate(100, 0.0)
    pace.add(50, 1.0)
    assert progress_words(pace, 2.0) == "50 B of 100 B, 25 B/s, 2.00 s left"
    assert progress_words(pace, 31.0) == "50 B of 100 B, nothing arrived for 30 s"


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**9)))
def test_progress_is_never_over_its_total_and_never_falls(total: int, sizes: list[int]) -> None:
    pace, before = DownloadRate(total, 0.0), 0
    for number, size in enumerate(sizes):
        pace.add(size, number + 0.5)
        assert before <= pace.done
        assert not total or pace.done <= total
        assert (pace.left_s(number + 1.0) or 0.0) >= 0.0
        before = pace.done


def test_nothing_is_drawn_after_the_error(terminal: Terminal, clock: list[float]) -> None:
    console, screen = terminal()
    console(Planned(1, 100_000_000, 1, 100_000_000))
    after(console, clock, 1, Received(FILE, 10_000_000))
    console.error(PreheatError("interrupted"))
    screen.take()
    after(console, clock, 1, Received(FILE, 10_000_000))  # of a thread that has not ended yet
    assert screen.take() == ""
