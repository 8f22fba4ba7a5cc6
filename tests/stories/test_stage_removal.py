"""What is removed from a stage: what was used longest ago, never what a job, a process or a pin needs."""

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.staging import RECIPE, age, away, staged
from tests.stories.two_machines import locked


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A shared library that has a locked app."""
    return locked(preheat, RECIPE)


def second(app: Preheat, folder: Path) -> Path:
    """Pull another app's model, of 6 MB, into the shared library."""
    folder.mkdir()
    (folder / "other.bin").write_bytes(os.urandom(6_000_000))
    other = app.folder / "other"
    other.mkdir()
    (other / "preheat.toml").write_text(
        f'[app]\nname = "other"\ncommand = ["true"]\n[[needs]]\nref = "file:{folder}"\n'
    )
    for words in ("lock", "pull"):
        assert app(words, "other/preheat.toml").status == 0
    return other / "preheat.toml"


@pytest.mark.parametrize("use", ["", "young", "held", "open", "pinned"])
def test_what_was_used_longest_ago_goes_and_never_what_is_in_use(app: Preheat, tmp_path: Path, use: str) -> None:
    recipe = str(second(app, tmp_path / "plain"))
    assert staged(app, *(("--hold", "17") if use == "held" else ())).status == 0
    nvme = app.folder / "nvme"
    if use != "young":
        age(nvme, 3600)
    if use == "pinned":
        assert app("pin", f"acme/tiny@{_commit_of(nvme)}", "--library", "nvme").status == 0
    [blob] = [path for path in (nvme / "blobs").rglob("*") if path.is_file() and path.stat().st_size > 8_000_000]
    with open(blob if use == "open" else os.devnull, "rb"):
        told = staged(app, "--max-size", "12M", what=recipe)
    if not use:
        assert told.status == 0, told.out
        assert (told.last["removed"], told.last["freed"] > 8_000_000) == (["demo"], True)
        assert not (nvme / "views/demo").exists()
        assert not blob.exists()
        assert staged(app, "--max-size", "12M").status == 5  # the other one is young
        return
    assert (told.status, told.last["kind"]) == (5, "NoSpace"), told.out
    reasons = {"young": "was used", "held": "job 17", "open": "open in a process", "pinned": "is pinned"}
    assert reasons[use] in told.last["message"]
    assert blob.exists()
    if use == "held":
        told = app("stage", "--to", "nvme", "--release", "17", "--max-size", "1M", "--json")
        assert (told.status, told.last["removed"]) == (0, ["demo"])
        assert not blob.exists()


def _commit_of(nvme: Path) -> str:
    [record] = (nvme / "records/hf").glob("*/*.json")
    return record.stem


def test_a_hold_ends_with_the_machine(app: Preheat) -> None:
    assert staged(app, "--hold", "17").status == 0
    [hold] = (app.folder / "nvme").glob("stages/*/holds/17")
    hold.write_text("another boot\n")
    age(app.folder / "nvme", 3600)
    told = app("stage", "--to", "nvme", "--release", "18", "--max-age", "30m", "--json")
    assert told.last["removed"] == ["demo"]
    assert app("ls", "--library", "nvme", "--json").last["versions"] == []


def test_a_new_lock_is_staged_and_the_old_files_go_by_age(app: Preheat, model: Path, tmp_path: Path) -> None:
    assert staged(app).status == 0
    changed = tmp_path / "changed"
    shutil.copytree(model, changed)
    (changed / "config.json").write_text('{"model_type": "new"}')
    with FlakyHub({"acme/tiny": changed}) as moved:
        app.env["HF_ENDPOINT"] = moved.url
        assert app("lock").status == 0
        told = staged(app)
    assert told.status == 0, told.out
    notes = sorted((app.folder / "nvme/stages").glob("demo-*/staged.json"), key=lambda path: path.stat().st_mtime)
    assert len(notes) == 2
    os.utime(notes[0], (1, 1))
    told = app("stage", "--to", "nvme", "--release", "none", "--max-age", "1h", "--json")
    assert told.last["removed"] == ["demo"]
    away(app)
    assert staged(app, PREHEAT_LIBRARY=str(app.folder / "gone")).last["fetched"] == 0


def test_removal_waits_for_a_job_that_is_being_given_its_files(app: Preheat) -> None:
    assert staged(app).status == 0
    age(app.folder / "nvme", 3600)
    with open(app.folder / "nvme/stages/.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        running = app.start("stage", "--to", "nvme", "--release", "17", "--max-age", "30m", "--json")
        assert staged(app, "--hold", "18").status == 0
    assert running.ended().last["removed"] == []


def test_a_note_that_leads_outside_removes_nothing_there(app: Preheat, tmp_path: Path) -> None:
    assert staged(app).status == 0
    outside = tmp_path / "precious"
    outside.mkdir()
    [path] = (app.folder / "nvme").glob("stages/*/staged.json")
    note = json.loads(path.read_text())
    path.write_text(json.dumps(note | {"views": ["../../precious", "..", ".", "/etc", str(outside)]}))
    os.utime(path, (1, 1))
    assert app("stage", "--to", "nvme", "--release", "1", "--max-age", "1h").status == 0
    assert outside.is_dir()
    assert (app.folder / "nvme/records").is_dir()
