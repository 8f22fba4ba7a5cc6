"""Unmodified programs with real clients are traced once: the recipe has the files that they read; they run offline."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preheat.guard.model.app import App
from preheat.guard.process.process import Process
from preheat.guard.witness.connections import Witness
from preheat.guard.witness.strace import Strace
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.outsiders.conftest import Outsider

pytestmark = pytest.mark.slow

LARGE = 1_000_000
VERSIONS = pytest.mark.parametrize("version", ["0.36.2", "2.4.0"])

SNAPSHOT = """
import os
from huggingface_hub import snapshot_download
folder = snapshot_download("acme/tiny")
print(len(open(os.path.join(folder, "model.safetensors"), "rb").read()))
"""
LOCAL_DIR = """
from huggingface_hub import hf_hub_download
path = hf_hub_download("acme/tiny", "model.safetensors", local_dir="weights")
print(len(open(path, "rb").read()))
"""
OWN_CACHE = """
import os
os.environ["HF_HUB_CACHE"] = "./checkpoints/hf_cache"
from huggingface_hub import hf_hub_download
print(len(open(hf_hub_download("acme/tiny", "model.safetensors"), "rb").read()))
"""
WORKERS = """
import multiprocessing
from huggingface_hub import hf_hub_download
def load(name):
    return len(open(hf_hub_download("acme/tiny", name), "rb").read())
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(load, ["model.safetensors", "voices/deep/low.bin"]))
"""


@pytest.fixture
def traced(preheat: Preheat, hub: FlakyHub) -> Preheat:
    preheat.env["MODELSCOPE_ENDPOINT"] = hub.url
    return preheat


def trace_and_replay(preheat: Preheat, hub: FlakyHub, command: list[str]) -> tuple[dict[str, Any], Told]:
    """Trace a program, remove its files, and start it again without a network."""
    told = preheat("trace", "--json", "--settle", "1s", "--", *command)
    assert told.status == 0, told.err[-3000:] + "".join(told.out.splitlines(keepends=True)[-12:])
    figures: dict[str, Any] = json.loads(told.out.splitlines()[-1])
    recipe = figures["recipe"]
    again = preheat("run", recipe, "--locked", "--network", "none", "--json", HF_ENDPOINT=hub.url)
    return figures, again


def large_files(figures: dict[str, Any]) -> set[str]:
    return {file["path"] for need in figures["needs"] for file in need["files"] if file["size"] > LARGE}


def outbound(told: Told) -> int:
    lines = [json.loads(line) for line in told.err.splitlines() if line.startswith('{"event":"network-seen"')]
    assert lines, told.err
    assert lines[-1]["blind_spots"] == []
    return int(lines[-1]["outbound"])


@VERSIONS
def test_a_snapshot_is_cut_down_to_what_is_read(
    version: str, traced: Preheat, hub: FlakyHub, outsider: Outsider
) -> None:
    python = outsider(f"huggingface_hub=={version}")
    (traced.folder / "app.py").write_text(SNAPSHOT)
    figures, again = trace_and_replay(traced, hub, [str(python), "app.py"])
    assert large_files(figures) == {"model.safetensors"}
    assert [left["size"] for left in figures["left_out"]] == [3_000_000]
    assert again.status == 0, again.err
    assert outbound(again) == 0
    if Witness.available():
        # The control: the same program and the same counter, and nothing preloaded.
        cold = {**traced.env, "HF_ENDPOINT": hub.url, "HF_HOME": str(traced.folder / "cold")}
        witness = Witness()
        process = Process(App((str(python), "app.py"), cold, str(traced.folder)), witness=witness)
        assert process.wait(60)
        process.stop()
        witness.close()
        assert process.status == 0
        assert witness.outbound > 0


@pytest.mark.parametrize(
    ("code", "view", "at", "files"),
    [
        (LOCAL_DIR, "local-dir", "weights", {"model.safetensors"}),
        (OWN_CACHE, "hf-cache", "checkpoints/hf_cache", {"model.safetensors"}),
        (WORKERS, "hf-cache", "", {"model.safetensors", "voices/deep/low.bin"}),
    ],
    ids=["local-dir", "own-cache", "workers"],
)
def test_where_and_by_whom_it_is_read_is_found_out(
    code: str, view: str, at: str, files: set[str], traced: Preheat, hub: FlakyHub, outsider: Outsider
) -> None:
    python = outsider("huggingface_hub==2.4.0")
    (traced.folder / "app.py").write_text(code)
    figures, again = trace_and_replay(traced, hub, [str(python), "app.py"])
    assert {(need["view"], need["at"]) for need in figures["needs"]} == {(view, at)}
    assert large_files(figures) == files
    assert again.status == 0, again.err
    assert outbound(again) == 0


MODELSCOPE = """
import os
from modelscope import snapshot_download
# This client has no variable that keeps it off the network: an app has to say so itself.
folder = snapshot_download("acme/tiny", local_files_only="HF_HUB_OFFLINE" in os.environ)
print(len(open(os.path.join(folder, "model.safetensors"), "rb").read()))
"""


# The old one takes no address of a hub but by TLS, with a certificate that it trusts.
@pytest.mark.parametrize(("version", "view"), [("1.40.2", "modelscope"), ("1.27.0", "modelscope-old")])
def test_modelscopes_client_is_led_to_the_mirror_and_read_in_its_own_layout(
    version: str, view: str, traced: Preheat, hub: FlakyHub, outsider: Outsider
) -> None:
    python = outsider(f"modelscope=={version}")
    (traced.folder / "app.py").write_text(MODELSCOPE)
    figures, again = trace_and_replay(traced, hub, [str(python), "app.py"])
    assert {(need["ref"], need["view"], need["at"]) for need in figures["needs"]} == {("ms:acme/tiny", view, "")}
    assert large_files(figures) == {"model.safetensors"}
    assert again.status == 0, again.err


@pytest.mark.parametrize("means", ["fanotify", "strace", "proc"])
def test_by_each_means_the_same_is_found(means: str, traced: Preheat, hub: FlakyHub, outsider: Outsider) -> None:
    if (means == "strace" and not Strace.available()) or (means == "fanotify" and os.geteuid() != 0):
        pytest.skip(f"{means} is not permitted here")
    python = outsider("huggingface_hub==2.4.0")
    (traced.folder / "app.py").write_text(SNAPSHOT.replace(".read()", ".read(5000)"))
    told = traced("trace", "--json", "--opens", means, "--settle", "1s", "--", str(python), "app.py")
    assert told.status == 0, told.err
    figures = told.last
    assert figures["native_opens"] == means
    if means == "proc":
        assert large_files(figures) >= {"model.safetensors"}
    else:
        assert large_files(figures) == {"model.safetensors"}
    read = {Path(one["path"]).name: one["read"] for one in figures["opened"]}
    if means == "strace":
        assert 5000 <= read["model.safetensors"] <= 200_000
        assert "hardly read: " in Path(traced.folder / "preheat.toml").read_text()
    else:
        assert read["model.safetensors"] is None


# ---- the demo's page, and its recogniser by itself

DEMO = Path(__file__).parents[2] / "examples" / "speech_webui"
WEIGHTS = Path(__file__).parents[2] / ".demo" / "hub" / "preheat-demo"

FASTER_WHISPER = """
from faster_whisper import WhisperModel
model = WhisperModel("preheat-demo/faster-whisper-tiny.en", device="cpu", compute_type="int8")
print(model.model.is_multilingual)
"""


@pytest.fixture
def demo(preheat: Preheat) -> Iterator[FlakyHub]:
    """The demo's two repositories, if `make demo` has created them."""
    if not (WEIGHTS / "faster-whisper-tiny.en" / "model.bin").is_file() or not (DEMO / ".venv").is_dir():
        pytest.skip("the demo's app and weights are made by make demo")
    folders = {f"preheat-demo/{path.name}": path for path in WEIGHTS.iterdir()}
    with FlakyHub(folders) as hub:
        preheat.env |= {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url}
        yield hub


def test_faster_whisper_reads_natively_and_is_seen_to(preheat: Preheat, demo: FlakyHub) -> None:
    (preheat.folder / "app.py").write_text(FASTER_WHISPER)
    figures, again = trace_and_replay(preheat, demo, [str(DEMO / ".venv/bin/python"), "app.py"])
    assert large_files(figures) == {"model.bin", "tokenizer.json"}
    assert again.status == 0, again.err
    assert outbound(again) == 0


@pytest.mark.timeout(240)
def test_the_demos_page_behind_a_script_that_activates_its_environment(preheat: Preheat, demo: FlakyHub) -> None:
    (preheat.folder / "start_app.sh").write_text(
        f"#!/bin/bash\nsource '{DEMO}/.venv/bin/activate'\npython '{DEMO}/app.py' --host 127.0.0.1 --port 17861\n"
    )
    told = preheat.start("trace", "--json", "--settle", "1s", "--", "bash", "start_app.sh")
    told.process.wait(180)
    figures = json.loads(told.out.splitlines()[-1])
    assert figures["ready"] == "http://127.0.0.1:17861/", told.err
    assert large_files(figures) == {"en_US-joe-medium.onnx", "model.bin", "tokenizer.json"}
    assert {need["ref"] for need in figures["needs"]} == {
        "hf:preheat-demo/en_US-joe-medium",
        "hf:preheat-demo/faster-whisper-tiny.en",
    }
    environment = os.path.realpath(DEMO / ".venv")
    assert not [made for made in figures["made"] if made["path"].startswith(environment)], "nothing of ours is in there"
