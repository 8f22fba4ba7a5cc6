"""Prove on a used machine: bytes are counted once wherever they go, and files of the app are moved and put back."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.proved import APP, Recipe, failed, recipe

__all__ = ["recipe"]

FEW = ("--conditions=cold,preloaded", "--observe=0s")

# It downloads as several libraries do: into a cache with symlinks, a second name by a hard link, a cache of
# ModelScope by way of a temporary file, and a folder that nothing names.
DOWNLOADS = """
import http.client, http.server, os, pathlib, ssl, sys, tempfile, time

PORT = int(sys.argv[1])
here = pathlib.Path(__file__).parent

def fetched(name, to, slowly=0):
    host = os.environ["HF_ENDPOINT"].partition("://")[2]
    connection = http.client.HTTPSConnection(host)
    connection.request("GET", "/acme/tiny/resolve/main/" + name)
    to.parent.mkdir(parents=True, exist_ok=True)
    with open(to, "wb") as file:
        body = connection.getresponse().read()
        file.write(body[:1000])
        file.flush()
        time.sleep(slowly)
        file.write(body[1000:])
    return to

repository = here / "checkpoints/hf_cache/models--acme--tiny"
blob = fetched("model.safetensors", repository / "blobs/abc")
(repository / "snapshots/1").mkdir(parents=True)
(repository / "snapshots/1/model.safetensors").symlink_to("../../blobs/abc")
os.link(blob, here / "checkpoints/model.safetensors")
partial = fetched("voices/deep/low.bin", pathlib.Path(tempfile.mkdtemp(dir=os.environ["TMPDIR"]), "low.part"), 2.5)
there = pathlib.Path(os.environ["MODELSCOPE_CACHE"], "low.bin")
there.parent.mkdir(parents=True)
partial.rename(there)
fetched("voices/deep/low.bin", here / "elsewhere/low.bin", 2.5)

http.server.HTTPServer(("127.0.0.1", PORT), http.server.SimpleHTTPRequestHandler).serve_forever()
"""

NEEDS = """
[[needs]]
ref = "hf:acme/tiny"
files = ["model.safetensors"]
view = "flat"
at = "checkpoints"

[[needs]]
ref = "hf:acme/tiny"
files = ["voices/deep/low.bin"]
view = "modelscope"

[[needs]]
ref = "hf:acme/tiny"
files = ["same.json"]
view = "flat"
at = "checkpoints/hf_cache"

[[needs]]
ref = "hf:acme/tiny"
files = ["note.txt"]
view = "flat"
at = "checkpoints/hf_cache/models--acme--tiny"
"""

# A flat view in the app's own folder.
FETCHING = APP.replace('os.environ["HF_HOME"], "hub"', '"checkpoints"')
READING = (
    FETCHING.replace('os.environ["HF_HUB_CACHE"], "models--acme--tiny"', '"checkpoints"')
    .replace('repository / "snapshots" / repository.joinpath("refs/main").read_text() / name', "repository / name")
    # As most apps, it does not download what is there.
    .replace("def fetched(name):\n", "def fetched(name):\n    if pathlib.Path('checkpoints', name).exists():\n"
             "        return pathlib.Path('checkpoints', name)\n")
)  # fmt: skip
PLACED = 'view = "flat"\nat = "checkpoints"\n'


@pytest.mark.slow
def test_bytes_are_counted_once_and_as_the_hub_counts_them(preheat: Preheat, hub: FlakyHub, recipe: Recipe) -> None:
    recipe(app=DOWNLOADS)
    path = preheat.folder / "preheat.toml"
    path.write_text(path.read_text().partition("first = ")[0] + NEEDS)
    temporary = preheat.folder / "temporary"
    temporary.mkdir()
    told = preheat("prove", "--conditions=cold", "--json", TMPDIR=str(temporary))
    assert told.status == 0, told.out + told.err
    counted = hub.sent("/resolve/") - told.last["limits"]["line"]["received"]
    assert told.last["cold"]["fetched"] == pytest.approx(counted, rel=0.01)
    # Each download is a part of the stage: the last one goes to a folder that the recipe does not name.
    [download] = [stage for stage in told.last["stages"]["cold"] if stage["name"] == "download"]
    assert download["seconds"] > 2.5
    [noted] = [event for event in told.events if event["event"] == "noted"]
    assert noted["what"].endswith("/elsewhere")
    assert "left new files there" in noted["said"]


def own_weights(preheat: Preheat, model: Path) -> Path:
    """Fill the app's own folder, as an earlier start did."""
    folder = preheat.folder / "checkpoints"
    folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_bytes((model / name).read_bytes())
    (folder / "mine.txt").write_text("mine")
    return folder


def looks(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of all files in a folder."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_an_app_with_its_weights_in_place_is_proved_and_left_as_it_was(
    preheat: Preheat, model: Path, recipe: Recipe
) -> None:
    recipe("model.safetensors", "config.json", app=READING, view=PLACED)
    folder = own_weights(preheat, model)
    before = looks(folder)
    told = preheat("prove", *FEW, "--json")
    assert told.status == 0, told.out + told.err
    assert told.last["cold"]["fetched"] >= 9_000_000
    assert looks(folder) == before
    assert not list(preheat.folder.glob(".preheat-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_weights_that_were_moved_aside_come_back_after_an_interrupt(
    preheat: Preheat, model: Path, recipe: Recipe, number: int
) -> None:
    tells = preheat.folder / "pid"
    waiting = f"import os, time; open({str(tells)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    recipe(app=waiting, view=PLACED)
    folder = own_weights(preheat, model)
    before = looks(folder)
    running = preheat.start("prove", *FEW)
    running.until(lambda running: tells.exists() and tells.read_text())
    (folder / "model.safetensors").unlink(missing_ok=True)
    (folder / "model.safetensors").write_text("as an app would write it")
    running.kill(number)
    if number == signal.SIGKILL:
        assert looks(folder) != before
        recipe(app="import sys; sys.exit(3)", view=PLACED)
        told = preheat("prove", *FEW)
        failed(told, 7, "never ready")
        # Nobody knows any more whether the app or the user wrote it.
        (written,) = preheat.folder.glob(".preheat-kept-*/*.found")
        assert (
            f"put back in place; a proof that was killed had moved it; the file that was there since is now {written}"
            in (" ".join(told.err.split()))
        )
        assert written.read_text() == "as an app would write it"
    else:
        assert not list(preheat.folder.glob(".preheat-*"))
    assert looks(folder) == before


def test_run_puts_back_what_a_killed_proof_moved(preheat: Preheat, model: Path, recipe: Recipe) -> None:
    tells = preheat.folder / "pid"
    recipe(app=f"import os, time; open({str(tells)!r}, 'w').write(str(os.getpid())); time.sleep(60)", view=PLACED)
    folder = own_weights(preheat, model)
    before = looks(folder)
    running = preheat.start("prove", *FEW)
    running.until(lambda running: tells.exists() and tells.read_text())
    running.kill()
    assert looks(folder) != before
    recipe(app="import sys; sys.exit(3)", view=PLACED)
    told = preheat("run")
    assert "put back" in told.err
    assert {name: looks(folder)[name] for name in before} == before


@pytest.mark.parametrize("where", ["own", "link"])
def test_a_folder_that_comes_with_an_app_moves_no_file(preheat: Preheat, recipe: Recipe, where: str) -> None:
    """Anybody can write into a repository what a killed proof leaves."""
    target = preheat.folder / "private/authorized_keys"
    target.parent.mkdir()
    target.write_text("mine")
    recipe(app="import sys; sys.exit(3)", view=PLACED)
    kept = preheat.folder / ".preheat-kept-0"
    kept.mkdir()
    (kept / "0").write_text("theirs")
    (kept / "in-use").touch()
    path = target if where == "own" else preheat.folder / "linked" / target.name
    (preheat.folder / "linked").symlink_to(target.parent)
    (kept / "journal").write_text(json.dumps([[os.fsencode(path).hex(), "0", True]]))
    preheat("run")
    preheat("prove", *FEW)
    assert target.read_text() == "mine"
    assert (kept / "0").read_text() == "theirs"
