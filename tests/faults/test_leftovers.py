"""Leftovers: temporary files of a killed process are removed by the next prune, or when its verb runs again."""

import os
import signal
import time
from pathlib import Path

import pytest

from preheat.disk import temporary_file
from preheat.library.blobs.file_lock import take
from tests.command import Preheat
from tests.faults.preloaded import Fault, faulty, killed
from tests.oci.bases import layer, layout
from tests.stories.caches import hf_cache

RECIPE = """
[app]
name = "demo"
command = ["python3", "app.py"]
[[needs]]
ref = "acme/tiny"
"""
# A verb, the call that kills its process, and whether the verb itself cleans up when it runs again.
Case = tuple[tuple[str, ...], Fault, bool]
# Links are made under their own names at once, and leave nothing behind.
CASES: dict[str, Case] = {
    "pull": (("pull", "hf:datasets/acme/rows"), killed("rename", "/records/"), False),
    "pull-claim": (("pull", "hf:datasets/acme/rows"), killed("rename", "/claims/"), False),
    "pin": (("pin", "acme/tiny"), killed("rename", "/pins/"), False),
    "adopt": (("adopt", "hub"), killed("rename", "/blobs/"), False),
    "adopt-copy": (("adopt", "hub", "--copy"), killed("write", "/partial/.adopt"), False),
    "view-copy": (("view", "flat", "view", "acme/tiny", "--link", "copy"), killed("write", "/view/."), True),
    "view-copied": (("view", "flat", "view", "acme/tiny", "--link", "copy"), killed("rename", "/view/", 2), True),
    "view-hub": (("view", "hf-cache", "view", "acme/tiny", "--link", "copy"), killed("write", "/view/models--"), True),
    "lock": (("lock", "preheat.toml"), killed("rename", "/preheat.lock"), True),
    "oci": (("build", "--base", "BASE", "--output", "oci:out:v1"), killed("write", "/out/."), True),
    "oci-archive": (
        ("build", "--base", "BASE", "--output", "oci-archive:out.tar:v1"),
        killed("write", "/.out.tar"),
        True,
    ),
    "docker-archive": (
        ("build", "--base", "BASE", "--output", "docker-archive:out.tar:me/app:v1"),
        killed("rename", "/out.tar"),
        True,
    ),
    "dockerfile": (("build", "--base", "BASE", "--dockerfile", "out"), killed("rename", "/Dockerfile"), True),
}


@pytest.fixture
def app(preheat: Preheat) -> Preheat:
    """A pulled model, a recipe that needs it, and another program's cache."""
    (preheat.folder / "preheat.toml").write_text(RECIPE)
    assert preheat("pull", "acme/tiny").status == 0
    hf_cache(preheat.folder / "hub", "acme/voice", {"model.bin": os.urandom(3_000_000), "config.json": b"{}"})
    return preheat


def spelled(app: Preheat, words: tuple[str, ...]) -> list[str]:
    base = layout(app.folder / "bases", [layer({"app": None})], {"WorkingDir": "/app"}) if "BASE" in words else ""
    return [base if word == "BASE" else word for word in words]


def asides(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.new") if not path.is_dir()]


# The next `lock` removes it: the library does not know about files beside a recipe.
@pytest.mark.parametrize("case", [case for case in CASES if case != "lock"])
def test_prune_removes_temporary_files_of_killed_processes(app: Preheat, case: str) -> None:
    words, fault, _ = CASES[case]
    assert faulty(app, fault, *spelled(app, words)).status == -signal.SIGKILL
    assert asides(app.folder)
    assert app("prune").status == 0
    assert asides(app.folder)
    assert app("prune", "--yes").status == 0
    assert asides(app.folder) == []
    assert app("verify").status == 0


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][2]])
def test_a_verb_that_runs_again_removes_its_leftovers_outside_the_library(app: Preheat, case: str) -> None:
    words, fault, _ = CASES[case]
    again = spelled(app, words)
    assert faulty(app, fault, *again).status == -signal.SIGKILL
    assert asides(app.folder)
    told = app(*again)
    assert told.status == 0, told.out + told.err
    assert [path for path in asides(app.folder) if not path.is_relative_to(app.library)] == []


def test_the_next_pull_removes_a_journal_that_a_killed_pull_had_begun(preheat: Preheat) -> None:
    assert faulty(preheat, killed("rename", ".journal"), "pull", "acme/tiny").status == -signal.SIGKILL
    assert asides(preheat.folder)
    assert preheat("pull", "acme/tiny").status == 0
    assert asides(preheat.folder) == []


def test_the_next_prune_removes_folders_of_killed_proofs_and_traces(app: Preheat) -> None:
    for name in ("proof-killed", "trace-killed", "proof-going-on"):
        (app.library / name / "caches").mkdir(parents=True)
        (app.library / name / "caches/weights").write_bytes(bytes(100_000))
        (app.library / name / "in-use").touch()
    lock = take(app.library / "proof-going-on/in-use")
    assert lock is not None
    told = app("prune", "--yes", "--json")
    assert (told.status, told.last["leftovers"]) == (0, 2)
    assert told.last["size"] >= 200_000
    assert [path.name for path in app.library.glob("*-*")] == ["proof-going-on"]
    os.close(lock)


# ---- the names themselves


def test_a_file_that_is_being_written_is_not_a_leftover(tmp_path: Path) -> None:
    path, descriptor = temporary_file.create(tmp_path / "file")
    assert temporary_file.left(tmp_path) == []
    os.close(descriptor)
    assert temporary_file.left(tmp_path) == [path]
    temporary_file.tidy(tmp_path / "other")
    assert path.exists()
    temporary_file.tidy(tmp_path / "file")
    assert not path.exists()


@pytest.mark.parametrize("name", ["a" * 255, "漢" * 85, "ab" + "漢" * 80, "x.tar"])
def test_the_temporary_name_of_every_file_name_is_recognized(tmp_path: Path, name: str) -> None:
    temporary_file.put(tmp_path / name, lambda path: path.write_bytes(b"1"))
    path, descriptor = temporary_file.create(tmp_path / name)
    os.close(descriptor)
    assert temporary_file.is_for(path, tmp_path / name)
    temporary_file.tidy(tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["notes.new", ".notes.new", ".notes.0123456789ab.news", "x.0123456789ab.new", ".a.b.new"]
)
def test_files_with_similar_names_are_not_leftovers(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert temporary_file.left(tmp_path) == []


def test_a_temporary_symlink_is_a_leftover_only_once_it_is_old(tmp_path: Path) -> None:
    path = temporary_file.beside(tmp_path / "link")
    path.symlink_to("nowhere")
    assert not temporary_file.is_left(path)
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago), follow_symlinks=False)
    assert temporary_file.is_left(path)


def test_a_temporary_file_removed_too_early_is_created_again(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        path.write_bytes(b"whole")
        made.append(path)
        if len(made) == 1:
            path.unlink()  # as another process would, cleaning up

    temporary_file.put(tmp_path / "file", make)
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "full"), KeyboardInterrupt(), FileNotFoundError(2, "no source")])
def test_a_failed_creation_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    def make(path: Path) -> None:
        path.write_bytes(b"part")
        raise error

    with pytest.raises(type(error)):
        temporary_file.put(tmp_path / "file", make)
    assert list(tmp_path.iterdir()) == []
