"""`run` with memory snapshots, end to end: without a network, with a model that is mapped from the library."""

import subprocess
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.guard.memory_snapshot.frozen import CRIU, needs_criu
from tests.stories.saved_page import APP, SavedPage

pytestmark = [needs_criu, pytest.mark.slow]


@pytest.fixture
def page(preheat: Preheat) -> SavedPage:
    made = SavedPage(preheat)
    assert preheat("pull", str(made.folder)).status == 0
    preheat.env["HF_ENDPOINT"] = "https://127.0.0.1:9"  # no hub from here on
    return made


def test_the_second_start_restores_the_first_and_reads_its_model_from_the_library(page: SavedPage) -> None:
    with page.running("memory snapshot made") as first:
        pass
    with page.running("restored from memory") as second:
        assert second == first
    assert (page.preheat.library / "memory-snapshots/page").stat().st_mode & 0o077 == 0
    kept = page.preheat("ls", "--json").last["memory_snapshots"]
    assert [one["app"] for one in kept] == ["page"]


def test_a_user_without_root_restores_an_app_in_a_user_namespace(page: SavedPage) -> None:
    as_user = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if subprocess.run([*as_user, "unshare", "--user", "true"], check=False).returncode:
        pytest.skip("this system does not permit user namespaces in one another")
    with page.running("memory snapshot made", as_user) as first:
        pass
    with page.running("restored from memory", as_user) as second:
        assert second == first
    with page.running("memory snapshot made") as of_root:
        assert of_root != first, "another user's snapshot is not restored"


def test_another_variable_or_another_model_is_a_new_start(page: SavedPage, model: Path) -> None:
    with page.running("memory snapshot made", SETTING="a") as first:
        pass
    with page.running("memory snapshot made", SETTING="b") as other:
        assert other[:2] != first[:2]
        assert other[1] == "b"
    with page.running("restored from memory", SETTING="b", TERM="xterm", SSH_TTY="/dev/pts/7") as again:
        assert again == other
    blob = next(path for path in (page.preheat.library / "blobs/sha256").rglob("*") if path.is_file())
    assert blob.stat().st_size == (model / "model.safetensors").stat().st_size


def test_a_model_that_is_gone_from_the_library_is_named_and_the_snapshot_stays(page: SavedPage) -> None:
    with page.running("memory snapshot made"):
        pass
    next(path for path in (page.preheat.library / "blobs/sha256").rglob("*") if path.is_file()).unlink()
    told = page.preheat("run", str(page.folder))
    assert told.status == 5
    assert "preheat pull" in told.err
    assert len(page.preheat("ls", "--json").last["memory_snapshots"]) == 1


def test_prune_removes_snapshots_only_when_asked_to(page: SavedPage) -> None:
    with page.running("memory snapshot made"):
        pass
    left = page.preheat.library / "memory-snapshots/page/0123456789abcdef.new-4194305"
    left.mkdir()
    (left / "pages-1.img").write_bytes(bytes(4096))
    shown = page.preheat("prune", "--memory-snapshots", "--json").last
    assert shown["size"] > 4096
    assert page.preheat("prune", "--yes").status == 0
    assert not left.exists()
    assert len(page.preheat("ls", "--json").last["memory_snapshots"]) == 1
    done = page.preheat("prune", "--memory-snapshots", "--yes", "--json").last
    assert done["memory_snapshots"] == 1
    assert page.preheat("ls", "--json").last["memory_snapshots"] == []
    with page.running("memory snapshot made"):
        pass


def test_a_snapshot_is_shown_and_removed_by_its_apps_name(page: SavedPage) -> None:
    with page.running("memory snapshot made"):
        pass
    shown = page.preheat("show", "memory:page", "--json").last
    assert (shown["app"], shown["changed"]) == ("page", "")
    assert 0 < shown["size"] < shown["resident"] + (1 << 20)
    assert "memory   page: " in page.preheat("status").out
    assert [one["app"] for one in page.preheat("status", "--json").last["memory_snapshots"]] == ["page"]
    assert "memory:page  memory snapshot, " in page.preheat("ls").out
    (page.folder / "app.py").write_text(APP + "# changed\n")
    assert f"has changed since: code or settings in {page.folder}" in page.preheat("show", "memory:page").out
    assert page.preheat("rm", "memory:page", "--json").last["memory_snapshots"] == 1
    assert page.preheat("ls", "--json").last["memory_snapshots"], "nothing is removed without --yes"
    assert page.preheat("rm", "memory:page", "--yes").status == 0
    assert page.preheat("ls", "--json").last["memory_snapshots"] == []
    for verb in ("show", "rm"):
        told = page.preheat(verb, "memory:page")
        assert (told.status, "no memory snapshot of page" in told.err) == (5, True)


def test_doctor_reports_whether_memory_can_be_saved(page: SavedPage) -> None:
    told = page.preheat("doctor", str(page.folder), PREHEAT_CRIU=CRIU)
    assert "memory snapshots: possible" in told.err
    nowhere = page.preheat("doctor", str(page.folder), "--json", PREHEAT_CRIU="/nowhere/criu").last
    assert "cannot be run" in nowhere["symptoms"]["no_memory"]
