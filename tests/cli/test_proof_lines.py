"""Proof lines: ranges of time, and no long silence."""

import pytest

from preheat.cli.output.human import HumanConsole
from preheat.cli.output.proof_lines import say_between, say_plan, say_step, say_trial
from preheat.core.events import Noted, ProofPlanned, TrialProgress, TrialStarted


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (0.0, 8.2, "at most 9 s"),
        (5.0, 8.2, "5 to 9 s"),
        (7.0, 7.0, "about 7 s"),
        (70.0, 400.0, "1 to 7 min"),
        (20.0, 300.0, "at most 5 min"),
        (4000.0, 9000.0, "1 to 3 h"),
    ],
)
def test_a_range_is_rounded_outwards(least: float, most: float, said: str) -> None:
    assert say_between(least, most) == said


def test_a_plan_says_what_is_known() -> None:
    assert say_plan(ProofPlanned(7, 2, 9_000_000, 180.0, 120.0, 240.0)).endswith("; 2 to 4 min")
    unknown = say_plan(ProofPlanned(7, 2, 9_000_000, None, 95.0, None))
    assert unknown.endswith("; at least 1 min 35 s; how long is known after the first start")


def test_a_step_and_what_is_done_in_it_name_the_time_left() -> None:
    assert say_step(TrialStarted("warm", 1, 3, 60.0, 30.0, 90.0)) == "round 1 of 3: warm; 30 to 90 s left"
    assert say_step(TrialStarted("warm", 1, 3)) == "round 1 of 3: warm"
    doing = TrialProgress("talk", 41.2, 3_000_000, "starting", 60.0, 30.0, 90.0)
    assert say_trial(doing) == "talk: starting for 42 s, 3.0 MB downloaded; 30 to 90 s left"


def test_a_line_is_printed_only_after_a_silence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("preheat.cli.output.human.time.monotonic", lambda: now)
    console = HumanConsole(1)
    printed = []
    for second in range(0, 121, 10):
        now = 1000.0 + second
        if second == 50:
            console(Noted("talk", "something else"))
        console(TrialProgress("talk", float(second), None, "starting"))
        printed += [second] if capsys.readouterr().err else []
    # A line within 30 seconds of the one before it, whatever that was about.
    assert printed == [20, 40, 50, 70, 90, 110]
