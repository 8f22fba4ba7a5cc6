"""Trace, end to end: an app that was observed once can be started anywhere, without the network."""

import json
import sys
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.authority import secured
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port

# A client of a hub in a few lines, as huggingface_hub is one: it keeps what it has, and offline it asks nobody.
CLIENT = """
import json, os, sys, urllib.request
HOME = os.environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")
CACHE = os.environ.get("HF_HUB_CACHE") or HOME + "/hub"

def get(path, revision="main", repo="acme/tiny"):
    folder = f"{CACHE}/models--{repo.replace('/', '--')}"
    try:
        commit = open(f"{folder}/refs/{revision}").read()
    except OSError:
        if os.environ.get("HF_HUB_OFFLINE"):
            raise SystemExit("not in the cache, and offline")
        asked = f"{os.environ['HF_ENDPOINT']}/api/models/{repo}/revision/{revision}"
        commit = json.load(urllib.request.urlopen(asked))["sha"]
        os.makedirs(f"{folder}/refs", exist_ok=True)
        with open(f"{folder}/refs/{revision}", "w") as ref:
            ref.write(commit)
    at = f"{folder}/snapshots/{commit}/{path}"
    if not os.path.exists(at):
        print("Downloading", path, flush=True)
        os.makedirs(os.path.dirname(at), exist_ok=True)
        body = urllib.request.urlopen(f"{os.environ['HF_ENDPOINT']}/{repo}/resolve/{commit}/{path}").read()
        with open(at + ".incomplete", "wb") as file:
            file.write(body)
        os.replace(at + ".incomplete", at)
    return at
"""

SCRIPT = (sys.executable, "-u", "app.py")


@pytest.fixture
def traced(preheat: Preheat, hub: FlakyHub) -> Preheat:
    """The command, in an app's folder, with a hub that also stands in for the other hub."""
    preheat.env["MODELSCOPE_ENDPOINT"] = hub.url
    return preheat


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """A plain server with a file of 20 kB."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "voice.wav").write_bytes(bytes(range(256)) * 80)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    url = secured(server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *words: object) -> None:  # noqa: A002 - its base's name
        pass


def write_app(preheat: Preheat, code: str) -> None:
    (preheat.folder / "app.py").write_text(CLIENT + code)


def test_a_program_is_traced_and_then_runs_without_asking_anybody(traced: Preheat, hub: FlakyHub) -> None:
    write_app(
        traced,
        "open(get('model.safetensors'), 'rb').read()\n"
        "if 'HF_HUB_OFFLINE' not in os.environ: get('voices/deep/low.bin')",
    )
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    figures = json.loads(told.out.splitlines()[-1])
    [need] = figures["needs"]
    assert (need["ref"], need["view"], need["at"]) == ("hf:acme/tiny", "hf-cache", "")
    assert [file["path"] for file in need["files"]] == ["model.safetensors"]
    [left] = figures["left_out"]
    assert left["size"] == 3_000_000
    assert "left out: hf:acme/tiny: voices/deep/low.bin: 3.0 MB, downloaded, never opened" in (
        (traced.folder / "preheat.toml").read_text()
    )
    # The same app, and a client that would fetch what is missing: it is there.
    write_app(traced, "open(get('model.safetensors'), 'rb').read()")
    hub.recovers()
    told = traced("run", "--locked", "--json", HF_ENDPOINT="http://127.0.0.1:9")
    assert told.status == 0, told.err
    assert hub.asked() == []


def test_a_second_trace_of_the_same_app_yields_the_same(traced: Preheat) -> None:
    write_app(traced, "open(get('model.safetensors'), 'rb').read()")
    assert traced("trace", "--", *SCRIPT).status == 0
    needs = (traced.folder / "preheat.lock").read_bytes().partition(b"[start]")[0]
    told = traced("trace", "--", *SCRIPT)
    assert told.status == 2
    assert "exists already" in " ".join(told.err.split())
    assert traced("trace", "--force", "--", *SCRIPT).status == 0
    # What the start reads of its environment differs: the kernel reads more ahead than was asked for.
    assert (traced.folder / "preheat.lock").read_bytes().partition(b"[start]")[0] == needs


def test_a_page_in_a_child_of_a_shell_script_is_found_ready_and_stopped(traced: Preheat) -> None:
    port = free_port()
    page = f"""
import http.server, multiprocessing
def load():
    open(get('model.safetensors'), 'rb').read()
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=load)
    worker.start(); worker.join()
    open("made.cache", "wb").write(b"x" * 20000)
    http.server.HTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
    write_app(traced, page)
    (traced.folder / "start_app.sh").write_text(f"#!/bin/bash\n'{sys.executable}' -u app.py\n")
    told = traced(
        "trace", "--settle", "0s", "--first", f"exec:{sys.executable} -c 1", "--json", "--", "bash", "start_app.sh"
    )
    assert told.status == 0, told.err
    figures = told.last
    assert figures["ready"] == f"http://127.0.0.1:{port}/"
    assert [file["path"] for file in figures["needs"][0]["files"]] == ["model.safetensors"]
    assert figures["pythons"] >= 3
    assert {"path": str(traced.folder / "made.cache"), "size": 20000} in figures["made"]
    text = (traced.folder / "preheat.toml").read_text()
    assert 'ref = "made:' in text
    assert f'ready = "http://127.0.0.1:{port}/"' in text


def test_an_app_that_keeps_its_files_beside_itself_gets_them_there(traced: Preheat) -> None:
    copies = """
import shutil
os.makedirs("weights", exist_ok=True)
if not os.path.exists("weights/renamed.bin"):
    shutil.copyfile(get("model.safetensors"), "weights/renamed.bin")
open("weights/renamed.bin", "rb").read()
"""
    write_app(traced, copies)
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    assert {(need["view"], need["at"]) for need in told.last["needs"]} == {("flat", "weights"), ("hf-cache", "")}
    assert not (traced.folder / "weights").exists(), "the traced start wrote to an overlay"
    assert traced("run", "--locked").status == 0
    assert (traced.folder / "weights" / "renamed.bin").stat().st_size == 9_000_000


def test_an_app_that_fails_is_told_with_its_last_words_and_leaves_no_recipe(traced: Preheat) -> None:
    fails = (
        "import socket\ntry: socket.getaddrinfo('nltk.invalid', 443)\nexcept OSError: raise SystemExit('no GPU here')"
    )
    write_app(traced, fails)
    told = traced("trace", "--", *SCRIPT)
    assert told.status == 7
    assert "nltk.invalid:443: connection attempts: 1, from __main__" in " ".join(told.err.split())
    assert "no GPU here" in told.err
    assert not (traced.folder / "preheat.toml").exists()
    assert not list(traced.library.glob("trace-*")), "its workplace is removed"
    for words in (
        ("trace",),
        ("trace", "-o", "recipe", "--", "true"),
        ("trace", "-o", "/x.toml", "--", "true"),
        ("trace", "--", "/nowhere/at/all"),
    ):
        assert traced(*words).status in (2, 7)


def test_no_secret_of_the_environment_is_written_down(traced: Preheat) -> None:
    write_app(traced, "open(get('config.json')).read()")
    assert traced("trace", "--", *SCRIPT, HF_TOKEN="hf_abcdefghijk", MY_KEY="hush").status == 0
    for name in ("preheat.toml", "preheat.lock"):
        text = (traced.folder / name).read_text()
        assert "hf_abc" not in text
        assert "hush" not in text


def test_what_comes_from_no_hub_is_needed_by_its_address_and_digest(traced: Preheat, elsewhere: str) -> None:
    code = f"""
os.makedirs("examples", exist_ok=True)
if not os.path.exists("examples/first.wav"):
    body = urllib.request.urlopen("{elsewhere}/voice.wav").read()
    with open("examples/first.wav", "wb") as file:
        file.write(body)
open("examples/first.wav", "rb").read()
"""
    write_app(traced, code)
    told = traced("trace", "--json", "--", *SCRIPT)
    assert told.status == 0, told.err
    [need] = told.last["needs"]
    assert need["ref"].startswith(f"{elsewhere}/voice.wav#sha256=")
    assert (need["view"], need["at"]) == ("flat", "examples")
    assert not (traced.folder / "examples").exists()
    assert traced("pull", "preheat.toml", "--locked").status == 0
    assert (traced.folder / "examples" / "first.wav").stat().st_size == 20480


def test_a_secret_in_the_command_is_not_kept(traced: Preheat) -> None:
    (traced.folder / "app.py").write_text("import sys; assert sys.argv[2] == 's3cr3t', sys.argv\n")
    told = traced("trace", "--", *SCRIPT, "--api-key", "s3cr3t")
    assert told.status == 0, told.err
    assert "the value of --api-key" in told.err
    for path in (traced.folder / "preheat.toml", traced.folder / "preheat.lock"):
        assert "s3cr3t" not in path.read_text()
    assert '"--api-key", "[hidden]"' in (traced.folder / "preheat.toml").read_text()


SERVES = """
import http.server
weights = open(get("model.safetensors"), "rb").read()

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        if self.path == "/say":
            self.wfile.write(open(get("config.json"), "rb").read())

    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@pytest.mark.slow
def test_a_proof_needs_nothing_but_the_traced_recipe(traced: Preheat) -> None:
    """The ready page, the first use and the variables that choose a hub are written down; secrets are not."""
    port = free_port()
    write_app(traced, SERVES)
    (traced.folder / "use.py").write_text(
        f"import urllib.request\nassert urllib.request.urlopen('http://127.0.0.1:{port}/say').read()\n"
    )
    traced.env |= {"USE_MODELSCOPE": "false", "MY_API_KEY": "hf_" + "a1B2" * 9}
    first = f"exec:{sys.executable} use.py"
    told = traced("trace", "--settle", "0s", "--first", first, "--", *SCRIPT, str(port))
    assert told.status == 0, told.err
    text = (traced.folder / "preheat.toml").read_text()
    app = tomllib.loads(text)["app"]
    assert app["ready"] == f"http://127.0.0.1:{port}/"
    assert app["first"].endswith("use.py")
    assert app["env"] == {"USE_MODELSCOPE": "false"}
    assert "MY_API_KEY" not in text
    told = traced("prove", "--observe=0s", "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["weights"] == 9_000_023
    assert told.last["preloaded"]["first_s"] is not None
