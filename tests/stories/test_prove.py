"""Prove, end to end: a real app, started cold from a hub and preloaded from a library, alternately."""

import json
import re
import signal
import subprocess
import sys

import pytest

from tests.command import HANGS_S, Preheat
from tests.flaky_hub import FlakyHub, answers_after
from tests.guard.apps import runs
from tests.stories.kept import contents
from tests.stories.proved import APP, Recipe, contents_but_format, failed, recipe

__all__ = ["recipe"]

FEW = ("--conditions=cold,preloaded", "--observe=0s")
# It takes its time after SIGTERM, and leaves a file if it gets it.
STUBBORN = """
import os, pathlib, signal, sys, time

def ends(number, frame):
    time.sleep(3)
    pathlib.Path("{folder}", "waited").touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, ends)
pathlib.Path("{folder}", "pid").write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.slow
def test_the_speed_up_is_measured_and_network_requests_are_counted(
    preheat: Preheat, hub: FlakyHub, recipe: Recipe
) -> None:
    recipe("model.safetensors", "config.json")
    told = preheat("prove", *FEW, "--runs", "2", "--json")
    assert told.status == 0, told.out + told.err
    planned = next(event for event in told.events if event["event"] == "proof-planned")
    assert planned.pop("least_s") >= 0
    assert planned == {
        "event": "proof-planned", "starts": 5, "downloads": 4, "size": 9_000_023, "left_s": None, "most_s": None
    }  # fmt: skip
    steps = [event for event in told.events if event["event"] == "trial-started"]
    assert steps[0]["most_s"] is None
    assert all(0 <= step["least_s"] <= step["left_s"] <= step["most_s"] for step in steps[2:])
    assert [(event["condition"], event["round"]) for event in told.events if event["event"] == "trial-started"] == [
        (condition, number) for number in (1, 2) for condition in _steps(number)
    ]
    figures = told.last
    assert figures["weights"] == figures["cold"]["fetched"] == 9_000_023
    assert figures["preloaded"]["fetched"] > 9_000_023
    assert figures["preloaded"]["pull_s"] > 0
    assert figures["cold"]["pull_s"] is None
    for condition in ("cold", "preloaded"):
        assert 0 < figures[condition]["ready_s"] < figures[condition]["first_s"]
        assert figures[condition]["peak_rss"] > 9_000_000
    assert len(figures["timelines"]) == 4
    if figures["cold"]["outbound"] is not None:
        assert figures["cold"]["outbound"] == 2
        assert figures["preloaded"]["outbound"] == 0
    assert contents_but_format(preheat) == {}
    assert not list(preheat.library.glob("proof-*"))


def _steps(number: int) -> tuple[str, ...]:
    """Return the steps of a round; one start that is not measured comes before the first cold one."""
    if number == 1:
        return ("pull", "rehearsal", "cold", "preloaded", "limits")
    return ("cold", "pull", "preloaded", "limits")


@pytest.mark.slow
def test_the_table_shows_the_result_to_people(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    told = preheat("prove", "--observe=0s", "preheat.toml")
    assert told.status == 0, told.err
    lines = told.out.splitlines()
    # Over loopback, so small an app may be ready as fast without preheat.
    assert re.search(r"\d× (faster|slower); 0 requests; ", lines[0])
    assert lines[0].startswith("talk is used after ")
    assert lines[2].split() == ["cold", "preloaded", "warm", "restart", "change"]
    names = [line.partition("  ")[0] for line in lines[3:]]
    assert names[:5] == ["pull, once", "start to page", "start to first use", "bytes fetched", "outbound requests"]
    assert {"peak memory (RSS)", "peak memory (PSS)", "video memory", "read from disk"} <= set(names)
    assert "9.0 MB" in lines[6]
    assert "round 1 of 1: preloaded" in told.err


@pytest.mark.slow
def test_an_optional_need_that_no_hub_has_is_left_out_and_reported_once(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    with open(preheat.folder / "preheat.toml", "a") as text:
        text.write('[[needs]]\nref = "hf:acme/none"\nview = "flat"\nat = "voices"\noptional = true\n')
    told = preheat("prove", *FEW, "--runs", "2", "--json")
    assert told.status == 0, told.out + told.err
    assert [event["ref"] for event in told.events if event["event"] == "optional-missing"] == ["hf:acme/none"]
    assert told.last["weights"] == 9_000_023


@pytest.mark.slow
def test_an_app_that_asks_its_hub_at_each_start_is_served_from_the_library(
    preheat: Preheat, hub: FlakyHub, recipe: Recipe
) -> None:
    """It knows no offline switch: all its starts download from whatever hub its variable names."""
    recipe("model.safetensors", "config.json", app=APP.replace('os.environ.get("HF_HUB_OFFLINE") == "1"', "False"))
    path = preheat.folder / "preheat.toml"
    path.write_text(path.read_text().replace('name = "talk"\n', 'name = "talk"\nhub = true\n'))
    told = preheat("prove", "--observe=0s", "--conditions=cold,preloaded,warm,restart", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["preloaded"]["outbound"] in (0, None)
    by_app = [one for one in hub.asked("/resolve/") if "preheat" not in one.headers.get("user-agent", "")]
    assert len(by_app) == 2, "the two files of the cold start"


@pytest.mark.slow
def test_the_existing_library_is_neither_used_nor_changed(preheat: Preheat, hub: FlakyHub, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    preheat("pull", "acme/tiny")
    hub.recovers()
    before = contents(preheat.library)
    assert preheat("prove", *FEW).status == 0
    assert contents(preheat.library) == before
    # Once by the app, once by the pull, and the bytes for measuring the line.
    assert hub.sent("model.safetensors") >= 18_000_000


def test_an_invalid_gain_is_rejected(preheat: Preheat, recipe: Recipe) -> None:
    recipe(app=APP.replace("sum(map(len, weights))", "9000023"))
    failed(preheat("prove", *FEW), 8, "the cold start downloaded nothing", "HF_HOME")
    assert contents_but_format(preheat) == {}


def test_an_app_that_is_never_ready_is_reported_with_its_last_output(preheat: Preheat, recipe: Recipe) -> None:
    recipe(app="import sys; sys.exit('no voice found')")
    failed(preheat("prove", *FEW), 7, "never ready", "   | no voice found")
    recipe(app="import time; print('still loading', flush=True); time.sleep(60)")
    failed(preheat("prove", *FEW, "--ready-within", "500ms"), 7, "not ready in time", "   | still loading")
    assert contents_but_format(preheat) == {}


def test_a_failed_first_use_is_an_error(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors")
    failed(preheat("prove", *FEW), 7, "first use failed", "first.py")
    path = preheat.folder / "preheat.toml"
    path.write_text(path.read_text().replace('first = "exec:', 'first = "exec:no-such-program '))
    failed(preheat("prove", *FEW), 7, "first use could not be tried", "no-such-program")
    path.write_text(path.read_text().replace("no-such-program", "sh -c 'sleep 60'"))
    failed(preheat("prove", *FEW, "--ready-within", "2s"), 7, "first use did not end in time")


def test_unavailable_needs_are_reported(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json", ref="hf:acme/none")
    failed(preheat("prove", *FEW), 3, "hf:acme/none")
    assert contents_but_format(preheat) == {}


def test_leftovers_of_a_killed_proof_are_removed_by_the_next(preheat: Preheat, recipe: Recipe) -> None:
    tells = preheat.folder / "pid"
    recipe(app=f"import os, time; open({str(tells)!r}, 'w').write(str(os.getpid())); time.sleep(60)")
    running = preheat.start("prove", *FEW)
    running.until(lambda running: tells.exists() and tells.read_text())
    running.kill()
    assert list(preheat.library.glob("proof-*"))
    recipe(app="import sys; sys.exit(3)")
    failed(preheat("prove", *FEW), 7, "never ready")
    assert not list(preheat.library.glob("proof-*"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_proof_leaves_neither_app_nor_files(
    preheat: Preheat, recipe: Recipe, number: int, status: int
) -> None:
    tells = preheat.folder / "pid"
    recipe(app=STUBBORN.format(folder=str(preheat.folder)))
    running = preheat.start("prove", *FEW)
    running.until(lambda running: tells.exists() and tells.read_text())
    told = running.kill(number)
    assert told.status == status
    assert not (preheat.folder / "waited").exists()
    assert "Traceback" not in told.err
    assert not runs(int(tells.read_text()))
    assert contents_but_format(preheat) == {}
    assert not list(preheat.library.glob("proof-*"))


def test_ctrl_c_does_not_wait_for_a_hub_that_stalls(preheat: Preheat, hub: FlakyHub, recipe: Recipe) -> None:
    recipe("model.safetensors")
    hub.fails(r"/resolve/.*safetensors", answers_after(HANGS_S))
    running = preheat.start("prove", *FEW)
    running.until(lambda _running: hub.asked("safetensors"))
    assert running.kill(signal.SIGINT).status == 130
    assert contents_but_format(preheat) == {}


def test_the_environment_that_a_script_starts_is_evicted_and_named(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    environment = preheat.folder / "runtime"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (preheat.folder / "start_app.sh").write_text('#!/bin/bash\ncd "$(dirname "$0")"\nexec runtime/bin/python "$@"\n')
    path = preheat.folder / "preheat.toml"
    python = json.dumps([sys.executable, "-I", "-S"])[1:-1]
    path.write_text(path.read_text().replace(f"command = [{python}", 'command = ["bash", "{dir}/start_app.sh", "-S"'))
    told = preheat("prove", "--observe=0s", "--conditions=preloaded", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["environments"] == [str(environment)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "has no start command"),
        ('ready = "soon"\n[[needs]]\nref = "acme/tiny"', "soon is not a probe"),
        ('ready = "exec:no-such"\n[[needs]]\nref = "acme/tiny"', "command not found: no-such"),
        ('ready = "tcp:1"\nfirst = "soon"\n[[needs]]\nref = "acme/tiny"', "'soon' is not a valid first use"),
        ('ready = "tcp:1"\nfirst = "exec:a \'b"\n[[needs]]\nref = "acme/tiny"', "is not a valid first use"),
        ('ready = "tcp:1"', "has no needs to preload"),
    ],
)
def test_a_recipe_that_cannot_be_proved_is_rejected(preheat: Preheat, words: str, said: str) -> None:
    (preheat.folder / "preheat.toml").write_text(f'[app]\nname = "talk"\ncommand = ["true"]\n{words}\n')
    failed(preheat("prove", *FEW), 2, said)
    assert contents_but_format(preheat) == {}
