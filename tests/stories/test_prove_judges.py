"""Prove: invalid starts that it rejects, and thresholds, imitated hubs and reports."""

import json
import re
import tempfile
from pathlib import Path

import pytest

from preheat.disk.filesystem import filesystem_of
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.stories.proved import APP, Recipe, contents_but_format, failed, recipe

__all__ = ["recipe"]

FEW = ("--conditions=cold,preloaded", "--observe=0s")
# Its first use succeeds whatever it has loaded.
PLEASED = APP.replace("sum(map(len, weights))", "9000023")


def test_a_cold_start_with_cached_files_is_rejected_with_the_file_that_it_read(
    preheat: Preheat, recipe: Recipe
) -> None:
    """The app keeps its weights outside the cache folders that a proof replaces, and downloads a few bytes."""
    kept = preheat.folder / "kept.bin"
    kept.write_bytes(bytes(9_000_000))
    cheat = f"\nmine = open({str(kept)!r}, 'rb')\nmine.read(); import time; time.sleep(0.6)\n"
    recipe("config.json", app=PLEASED.replace("\nclass Page", cheat + "\nclass Page"))
    failed(preheat("prove", *FEW), 8, "the cold start read", "kept.bin", "existed before")
    assert contents_but_format(preheat) == {}


def test_a_cold_start_that_downloads_only_a_part_is_rejected(preheat: Preheat, recipe: Recipe) -> None:
    recipe("config.json", app=PLEASED)
    failed(preheat("prove", *FEW), 8, "of 9.0 MB, so it was not cold")


@pytest.mark.slow
def test_weights_that_stay_in_memory_are_no_start_from_disk(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as library:
        if filesystem_of(Path(library)) != "tmpfs":
            pytest.skip("/dev/shm is not on tmpfs here")
        told = preheat("prove", "--observe=0s", "--conditions=preloaded", "--library", library)
        failed(told, 8, "100 % of the weights stayed in the page cache")
        assert preheat("prove", "--observe=0s", "--conditions=warm", "--library", library).status == 0


@pytest.mark.slow
def test_a_slower_app_is_flagged(preheat: Preheat, recipe: Recipe) -> None:
    port = recipe("model.safetensors", "config.json")
    missing = preheat("prove", "preheat.toml", "--compare=old.json", "--json")
    hint = missing.last["hint"]
    assert (missing.status, hint) == (2, "preheat prove preheat.toml --json > old.json")
    command, _, target = hint.partition(" > ")
    told = preheat(*command.split()[1:], "--observe=0s", "--conditions=warm")
    assert told.status == 0, told.err
    (preheat.folder / target).write_text(told.out)
    slowed = APP.replace('print("app"', 'import time; time.sleep(2.5); print("app"')
    recipe("model.safetensors", "config.json", app=slowed, port=port)
    told = preheat("prove", "--observe=0s", "--conditions=warm", "--compare=old.json")
    failed(told, 8, "warm.ready_s became worse")
    assert "talk is used after" in told.out


@pytest.mark.slow
def test_thresholds_decide_the_exit_status(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    told = preheat("prove", *FEW, "--fail-if", "ratio < 0.001", "--fail-if", "cold.fetched > 100", "--json")
    failed_with = next(event for event in told.events if event["event"] == "done")["failed"]
    assert told.status == 8
    assert failed_with == ["cold.fetched > 100 is true: it was 9.0 MB"]
    assert told.last["kind"] == "CheckFailed"
    assert preheat("prove", *FEW, "--fail-if", "ratio < 0.001").status == 0


@pytest.mark.slow
def test_thresholds_of_the_recipe_decide_too(preheat: Preheat, recipe: Recipe) -> None:
    recipe("model.safetensors", "config.json")
    path = preheat.folder / "preheat.toml"
    whole = path.read_text()

    def prove(*thresholds: str) -> Told:
        path.write_text(whole.replace("[app]", f"[app]\nthresholds = {json.dumps(thresholds)}"))
        return preheat("prove", "--conditions=warm", "--observe=0s")

    # The page within a minute.
    told = prove("warm.ready_s > 60s", "preloaded.ready_s > 60s")
    assert told.status == 0, told.err
    assert "preloaded.ready_s > 60s: not checked, because no preloaded start is made" in told.err
    failed(prove("warm.ready_s > 1ms"), 8, "warm.ready_s > 1ms is true: it was 0.")
    failed(prove("warm.speed > 1"), 2, "preheat.toml:2: ", "warm.speed, which is not a figure")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fail-if", "speed < 1"), "speed, which is not a figure"),
        (("--conditions", "cold", "--fail-if", "preloaded.ready_s > 1"), "a preloaded start, but none is made"),
        (("--conditions", "hot"), "'hot' contains an unknown condition"),
        (("--compare", "none.json"), "none.json cannot be read"),
        (("--report", "no/such/folder/p.html"), "cannot be written"),
        (("--hub-rtt", "40ms"), "--hub-rtt needs --hub-rate"),
        (("--hub-rate", "3M", "--endpoint", "hf=http://h"), "exclude each other"),
        (("--runs", "0"), "at least 1, not 0"),
    ],
)
def test_a_mistyped_option_is_reported_before_anything_is_started(
    preheat: Preheat, hub: FlakyHub, recipe: Recipe, words: tuple[str, ...], said: str
) -> None:
    recipe("model.safetensors")
    failed(preheat("prove", *words), 2, said)
    assert not hub.asked("")


@pytest.mark.slow
def test_a_far_hub_is_imitated_from_the_library_and_every_output_says_so(
    preheat: Preheat, hub: FlakyHub, recipe: Recipe
) -> None:
    recipe("model.safetensors", "config.json")
    failed(preheat("prove", *FEW, "--hub-rate", "9M"), 5, "not in", "preheat pull")
    preheat("pull", "preheat.toml")
    hub.recovers()
    told = preheat("prove", *FEW, "--hub-rate", "9M", "--hub-rtt", "100ms", "--report", "proof.html", "--json")
    assert told.status == 0, told.err
    assert told.last["imitated"] == {"rate": 9_000_000, "rtt_s": 0.1}
    assert "Imitated hub" in (preheat.folder / "proof.html").read_text()
    # 9 MB over one connection at 9 MB/s, and two delayed responses.
    assert told.last["cold"]["ready_s"] - told.last["preloaded"]["ready_s"] > 0.6
    assert told.last["limits"]["line"]["answer_s"] >= 0.1
    assert 4e6 < told.last["limits"]["line"]["one"] < 12e6
    assert not hub.asked("")
    words = preheat("prove", *FEW, "--hub-rate", "90M", "--report", "zh.html", "--lang", "zh")
    assert "on this machine, limited to 90.0 MB/s per connection" in words.out
    assert "模拟的 hub" in (preheat.folder / "zh.html").read_text(encoding="utf-8")


def test_an_apps_own_folder_is_restored(preheat: Preheat, recipe: Recipe) -> None:
    """A flat view is in the app's own folder: files that a proof places there are removed at its end."""
    fetching = APP.replace('os.environ["HF_HOME"], "hub"', '"checkpoints"')
    reading = fetching.replace('os.environ["HF_HUB_CACHE"], "models--acme--tiny"', '"checkpoints"').replace(
        'repository / "snapshots" / repository.joinpath("refs/main").read_text() / name', "repository / name"
    )
    recipe("model.safetensors", "config.json", app=reading, view='view = "flat"\nat = "checkpoints"\n')
    told = preheat("prove", *FEW, "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["cold"]["fetched"] == 9_000_023
    assert not (preheat.folder / "checkpoints").exists()


SLOW = """
import pathlib, sys, time
time.sleep(11)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_slow_start_is_not_silent(preheat: Preheat, recipe: Recipe) -> None:
    recipe(app=SLOW)
    path = preheat.folder / "preheat.toml"
    text = re.sub(r"(?m)^first = .*$", "", path.read_text())
    path.write_text(re.sub(r"(?m)^ready = .*$", 'ready = "line:up"', text))
    told = preheat("prove", "--conditions=preloaded", "--observe=0s", "--json")
    assert told.status == 0, told.err
    told_of = [event for event in told.events if event["event"] == "trial-progress"]
    assert any(event["doing"] == "starting" and event["seconds"] > 0 for event in told_of)
