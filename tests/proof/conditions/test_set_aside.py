"""Set aside: an app's files come back after a kill, and nothing that the user wrote meanwhile is lost."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.proof.conditions.set_aside import put_back

_KILLED = """
import os, resource, sys
from pathlib import Path
from preheat.proof.conditions.set_aside import set_aside
moved, linked, journals = map(Path, sys.argv[1:4])
if len(sys.argv) > 4:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
kept = set_aside([moved, linked], [moved], [moved.parent], journals)
kept.__enter__()
os._exit(9)
"""


def _prove_and_kill(*words: object) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, *map(str, words)], check=False)


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "model.bin").write_text("weights")
    (folder / "app.py").write_text("old code")
    return folder


def test_what_the_user_wrote_after_the_kill_is_kept(app: Path, tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    _prove_and_kill(app / "model.bin", app / "app.py", journals)
    assert not (app / "model.bin").exists()
    (app / "model.bin").write_text("downloaded again")
    (app / "app.py").unlink()
    (app / "app.py").write_text("edited since the kill")

    found = {one.path.name: one.found for one in put_back(journals)}
    assert (app / "model.bin").read_text() == "weights"
    assert {name: path.read_text() for name, path in found.items() if path} == {
        "model.bin": "downloaded again",
        "app.py": "edited since the kill",
    }
    assert put_back(journals) == ()
    assert not list(journals.iterdir())


def test_nothing_is_left_of_a_proof_whose_files_are_back(app: Path, tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    _prove_and_kill(app / "model.bin", app / "app.py", journals)
    (app / "model.bin").write_text("weights")  # placed again
    assert [(one.path, one.found, one.trouble) for one in put_back(journals)] == [(app / "model.bin", None, "")]
    assert sorted(path.name for path in app.iterdir()) == ["app.py", "model.bin"]


def test_a_file_that_cannot_be_put_back_is_kept_and_reported(app: Path, tmp_path: Path) -> None:
    journals = tmp_path / "journals"
    _prove_and_kill(app / "model.bin", app / "app.py", journals)
    (app / "model.bin").mkdir()
    (told,) = put_back(journals)
    assert told.trouble
    assert told.still is not None
    assert told.still.read_text() == "weights"
    (app / "model.bin").rmdir()
    assert [one.trouble for one in put_back(journals)] == [""]
    assert (app / "model.bin").read_text() == "weights"


def test_a_journal_that_vanishes_or_is_damaged_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / ".preheat-kept-x.json").symlink_to(tmp_path / "gone")
    (tmp_path / ".preheat-kept-y.json").write_text("{")
    assert put_back(tmp_path) == ()


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs two filesystems")
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def test_a_copy_that_ran_out_of_space_takes_no_files_place(app: Path, tmp_path: Path, other_disk: Path) -> None:
    large = other_disk / "large.bin"
    large.write_bytes(bytes(1 << 20))
    _prove_and_kill(app / "model.bin", large, tmp_path / "journals", 64 << 10)
    (aside,) = app.glob(".preheat-kept-*")
    assert sorted(path.name for path in aside.iterdir()) == ["0", "in-use"]
