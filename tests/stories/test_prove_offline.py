"""Prove, end to end: an offline start that goes online is an error, even long after readiness."""

import pytest

from preheat.guard.witness.connections import Witness
from tests.command import Preheat
from tests.stories.proved import APP, Recipe, failed, recipe

__all__ = ["recipe"]

pytestmark = pytest.mark.skipif(not (can := Witness.available()), reason=can.reason or "available")

# As onnxruntime does: nothing at the start, and a host is looked up from a timer, seconds later.
PHONES_HOME = """
import socket, threading

def home():
    try:
        socket.getaddrinfo("telemetry.example", 443)
    except OSError:
        pass

timer = threading.Timer(DELAY, home)
timer.daemon = True
timer.start()
"""
# Its own helper process, on a port that is not in the recipe.
TALKS_TO_ITSELF = """
import socket
helper = socket.create_server(("127.0.0.1", 0))
socket.create_connection(helper.getsockname()).close()
"""
WARM = ("prove", "--conditions=warm")


@pytest.mark.slow
def test_a_request_from_a_timer_after_first_use_fails_the_proof(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json", app="DELAY = 2.0" + PHONES_HOME + APP)
    told = preheat(*WARM, "--observe=5s", "--json")
    assert told.status == 8
    done = next(event for event in told.events if event["event"] == "done")
    [timeline] = done["timelines"]
    assert timeline["traffic"]["lookups"] >= 1
    assert timeline["traffic"]["observed_s"] >= 5
    assert any("lookup of telemetry.example at " in place for place in timeline["traffic"]["places"])
    assert "a warm start made " in done["failed"][0]
    assert "lookup of telemetry.example" in done["failed"][0]
    told = preheat(*WARM, "--observe=5s", "--allow-outbound")
    assert told.status == 0, told.err
    assert "offline starts: until 5." in told.out


@pytest.mark.slow
def test_an_observation_that_ends_before_the_request_does_not_see_it(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json", app="DELAY = 600.0" + PHONES_HOME + APP)
    assert preheat(*WARM, "--observe=1s").status == 0


def test_a_connection_within_the_app_is_not_outbound(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json", app=TALKS_TO_ITSELF + APP)
    told = preheat(*WARM, "--observe=0s", "--json")
    assert told.status == 0, told.err
    assert told.last["warm"]["outbound"] == 0


def test_an_invalid_observation_time_is_rejected(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    failed(preheat(*WARM, "--observe=soon"), 2, "soon")
