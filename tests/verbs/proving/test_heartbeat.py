"""Heartbeat: a proof reports what it does and since when, also while nothing happens."""

import threading

import pytest

from preheat.core.events import Event, TrialProgress
from preheat.verbs.proving.heartbeat import Heartbeat
from preheat.verbs.proving.proof_plan import Estimate


def test_it_reports_what_is_done_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preheat.verbs.proving.heartbeat._EVERY_S", 0.01)
    seen: list[TrialProgress] = []
    enough = threading.Event()

    def listen(event: Event) -> None:
        if isinstance(event, TrialProgress) and event.doing == "starting":
            seen.append(event)
            enough.set()

    with Heartbeat("talk", lambda: Estimate(2.0, 6.0), listen) as heartbeat:
        heartbeat.now("starting", lambda: 70)
        assert enough.wait(10)
    told = seen[0]
    assert (told.app, told.fetched, told.left_s, told.least_s, told.most_s) == ("talk", 70, 4.0, 2.0, 6.0)
    assert told.seconds >= 0
