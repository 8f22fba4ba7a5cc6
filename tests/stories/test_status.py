"""Status, end to end: what there is, what runs, what is stale and what to do next; no hub is asked."""

import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from preheat.library.records.process_ids import process_id
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.mirroring import mirroring
from tests.stories.caches import COMMIT, etag, hf_cache, write

APP = """
import http.server
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print("listening", flush=True)
server.serve_forever()
"""


def recipe(preheat: Preheat) -> Path:
    write(preheat.folder / "app.py", APP.encode())
    text = f"""[app]
name = "small"
command = [{sys.executable!r}, "app.py"]
ready = "line:listening"

[[needs]]
ref = "acme/tiny"
files = ["config.json"]
"""
    return write(preheat.folder / "preheat.toml", text.encode())


def looked(preheat: Preheat) -> dict[str, Any]:
    told = preheat("status", "--json")
    assert told.status == 0, told.out + told.err
    return told.last


def commands(said: dict[str, Any]) -> list[str]:
    return [step["command"] for step in said["next"]]


def test_an_empty_machine_is_told_where_to_begin(preheat: Preheat, hub: FlakyHub) -> None:
    assert commands(looked(preheat)) == ["preheat recipes"]
    cache = preheat.folder / ".cache/huggingface/hub"
    hf_cache(cache, "acme/voice", {"config.json": b"{}"})
    assert commands(looked(preheat)) == [f"preheat adopt {cache}"]
    assert not preheat.library.exists(), "a look changes nothing"
    assert not hub.asked()


def test_each_step_of_an_app_leads_to_the_next(preheat: Preheat, hub: FlakyHub) -> None:
    recipe(preheat)
    said = looked(preheat)
    assert (said["app"]["missing"], said["app"]["stale"]) == (["hf:acme/tiny"], ["it has no lock"])
    steps = []
    for _ in range(2):
        command = commands(looked(preheat))[0]
        steps.append(command)
        told = preheat(*shlex.split(command)[1:])
        assert told.status == 0, told.err
    hub.recovers()
    said = looked(preheat)
    assert steps == ["preheat pull", "preheat lock"]
    assert (commands(said), said["stale"]) == (["preheat run"], [])
    assert not hub.asked()


def test_what_runs_is_listed_until_it_ends(preheat: Preheat) -> None:
    recipe(preheat)
    assert preheat("pull").status == 0
    app = preheat.start("run", "--json")
    app.until(lambda one: '"life":"running"' in one.err)
    mirror, url = mirroring(preheat)
    app_said, mirror_said = looked(preheat)["running"]
    notes = (preheat.folder / ".local/state/preheat/running").iterdir()
    assert {one.stat().st_mode & 0o777 for one in notes} == {0o600}, "an address may have a secret"
    assert (app_said["name"], app_said["life"], app_said["pid"]) == ("small", "running", app.process.pid)
    assert (mirror_said["verb"], mirror_said["addresses"]) == ("mirror", [url])
    assert "preheat run" not in commands(looked(preheat))
    lines = preheat("status").out
    assert f"running  small (running), PID {app.process.pid}, for " in lines
    assert f"running  mirror at {url}, PID {mirror.process.pid}, for " in lines
    mirror.kill(signal.SIGTERM)
    app.kill(signal.SIGKILL)
    assert looked(preheat)["running"] == []
    assert not list((preheat.folder / ".local/state/preheat/running").iterdir())


def test_notes_that_are_not_ours_do_no_harm(preheat: Preheat) -> None:
    folder = preheat.folder / ".local/state/preheat/running"
    write(folder / "a.json", b"not JSON")
    write(folder / "b.json", b'{"verb": 1}')
    dead = process_id().rpartition(" ")[0] + " 1"
    note = (
        '{"verb":"run","name":"x","folder":"","library":"","addresses":[],"life":"running","began_at":1,"process":"%s"}'
    )
    write(folder / "c.json", (note % dead).encode())
    assert looked(preheat)["running"] == []
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "b.json"]


def test_half_a_model_and_old_versions_are_stale(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": b"{}", "gone.json": b"[]"})
    (home / "blobs" / etag(b"[]", lfs=False)).unlink()
    hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": b"{} "}, COMMIT[::-1])
    assert preheat("adopt", str(preheat.folder / "hub")).status == 5
    said = looked(preheat)
    assert said["library"]["partial"] == 1
    assert said["library"]["versions"] == 2
    assert "hf:acme/voice is partial: 1 of 2 files missing" in said["stale"]
    assert commands(said)[0].startswith("preheat pull hf:acme/voice")
    assert commands(said)[1:] == ["preheat prune --old"]


def test_a_recipe_with_a_mistake_is_shown_with_it(preheat: Preheat) -> None:
    write(preheat.folder / "preheat.toml", b'[app]\nname = "x"\nreddy = "tcp:1"\n')
    said = looked(preheat)
    assert "reddy" in said["app"]["error"]
    assert "reddy" in preheat("status").out


def locked_app(preheat: Preheat, *, link: str = "auto") -> Path:
    """Make an app in a folder of its own, lock and pull it: no branch refers to what it needs. Return its recipe."""
    at = recipe(preheat)
    home = preheat.folder / "apps/small"
    home.mkdir(parents=True)
    for path in (at, preheat.folder / "app.py"):
        path.rename(home / path.name)
    at = home / at.name
    assert preheat("lock", str(at)).status == 0
    told = preheat("pull", str(at), "--link", link)
    assert told.status == 0, told.err
    return at


def old_versions(preheat: Preheat, folder: Path | None = None) -> int:
    plan = preheat("prune", "--old", "--younger", "0s", "--json", inside=within(folder or preheat.folder)).last
    said = json.loads(preheat("status", "--json", inside=within(folder or preheat.folder)).out.splitlines()[-1])
    assert len(plan["versions"]) == said["library"]["old"]
    return len(plan["versions"])


def within(folder: Path) -> tuple[str, ...]:
    return ("env", "-C", str(folder))


@pytest.mark.parametrize("link", ["symlink", "hardlink", "copy"])
def test_a_version_in_a_view_of_the_library_is_not_old_whatever_its_link(preheat: Preheat, link: str) -> None:
    at = locked_app(preheat, link=link)
    shutil.rmtree(preheat.library / "apps", ignore_errors=True)  # as in a library of an earlier release
    assert old_versions(preheat) == 0
    shutil.rmtree(preheat.library / "views")
    assert old_versions(preheat) == 1
    assert old_versions(preheat, at.parent) == 0, "the lock of the recipe in this folder"


def test_a_version_that_the_lock_of_a_known_app_pins_is_not_old(preheat: Preheat, hub: FlakyHub) -> None:
    at = locked_app(preheat)
    shutil.rmtree(preheat.library / "views")
    assert preheat("prune", "--old", "--younger", "0s", "--yes").status == 0
    assert len(preheat("ls", "--json").last["versions"]) == 1
    said = looked(preheat)
    assert ([one["path"] for one in said["other_apps"]], said["library"]["old"]) == ([str(at)], 0)
    assert f"app      small ({at}): last used " in preheat("status").out
    hub.recovers()
    app = preheat.start("run", str(at), "--locked", "--json")
    app.until(lambda one: '"life":"running"' in one.err)
    app.kill(signal.SIGTERM)
    app.ended()
    at.unlink()
    shutil.rmtree(preheat.library / "views")
    assert (old_versions(preheat), looked(preheat)["other_apps"]) == (1, [])
    assert not hub.asked()


def test_a_note_of_an_app_that_is_damaged_does_no_harm(preheat: Preheat) -> None:
    locked_app(preheat)
    [note] = (preheat.library / "apps").iterdir()
    note.write_bytes(b"[1, 2")
    (note.parent / "other.json").symlink_to("/dev/zero")
    os.mkfifo(note.parent / "fifo.json")
    assert looked(preheat)["other_apps"] == []
    assert preheat("prune", "--old", "--younger", "0s", "--yes").status == 0
