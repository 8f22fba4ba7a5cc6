"""Validity: results that only look like a gain are rejected, with the reason."""

import os
from pathlib import Path

import pytest

from preheat.core.digest import Digest
from preheat.core.errors import CheckFailed
from preheat.core.snapshot import File
from preheat.proof.conditions.app_folder import untouched
from preheat.proof.conditions.validity import require_fetched, require_own_weights

WEIGHTS = File("voices/model.bin", 2_000_000, Digest.parse("sha256:" + "0" * 64))


def test_a_cold_start_that_downloaded_nothing_is_rejected() -> None:
    with pytest.raises(CheckFailed, match="downloaded nothing") as raised:
        require_fetched(0, 2_000_000)
    assert "HF_HOME" in raised.value.hint


def test_a_cold_start_that_downloaded_only_a_part_is_rejected() -> None:
    with pytest.raises(CheckFailed, match=r"0\.9 MB of 2\.0 MB"):
        require_fetched(900_000, 2_000_000)
    require_fetched(1_990_000, 2_000_000)


def test_a_cold_start_that_read_weights_from_elsewhere_is_rejected(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own, other):
        folder.mkdir()
        (folder / "model.bin").write_bytes(bytes(2_000_000))
    (other / "small.json").write_bytes(bytes(100))
    require_own_weights([str(own / "model.bin"), str(other / "small.json"), "/none"], [own], [WEIGHTS])
    with pytest.raises(CheckFailed, match=r"other/model\.bin, which existed before"):
        require_own_weights([str(other / "model.bin")], [own], [WEIGHTS])


@pytest.fixture
def journals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journals")


def test_files_that_a_proof_adds_to_the_apps_folder_are_removed(tmp_path: Path, journals: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "config.yaml").write_text("mine")
    new = tmp_path / "deep" / "er"
    with untouched([tmp_path / "checkpoints", new], journals):
        (tmp_path / "checkpoints" / "w2v").mkdir()
        (tmp_path / "checkpoints" / "w2v" / "model.bin").symlink_to("/nowhere")
        new.mkdir(parents=True)
        (new / "voice.onnx").write_text("x")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "checkpoints",
        "checkpoints/config.yaml",
    ]


def test_a_download_of_another_program_into_the_apps_folder_goes_on(tmp_path: Path, journals: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with untouched([folder], journals):
        (folder / "added.bin").write_text("by the app")
        download = (folder / "other.part").open("w")
    download.write("by another program")
    download.close()
    assert [path.name for path in folder.iterdir()] == ["other.part"]


def test_files_of_the_app_that_a_proof_replaced_are_restored(tmp_path: Path, journals: Path) -> None:
    folder, other = tmp_path / "checkpoints", tmp_path / "blob"
    folder.mkdir()
    other.write_text("placed")
    (folder / "config.yaml").write_text("edited by hand")
    (folder / "model.bin").symlink_to("/weights/model.bin")
    (folder / "gone.txt").write_text("still wanted")
    with untouched([folder], journals, tmp_path):
        (folder / "config.yaml").unlink()
        (folder / "config.yaml").symlink_to(other)
        (folder / "model.bin").unlink()
        os.link(other, folder / "model.bin")
        (folder / "gone.txt").unlink()
    assert (folder / "config.yaml").read_text() == "edited by hand"
    assert (folder / "model.bin").readlink() == Path("/weights/model.bin")
    assert (folder / "gone.txt").read_text() == "still wanted"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blob", "checkpoints"]
    assert len(list(folder.iterdir())) == 3


def test_below_an_apps_whole_folder_other_processes_may_work(tmp_path: Path, journals: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    with untouched([tmp_path], journals, tmp_path):
        (tmp_path / "src" / "new.py").write_text("written meanwhile")
        (tmp_path / "voice.bin").write_text("placed")
        (tmp_path / "mine.txt").unlink()
        (tmp_path / "mine.txt").write_text("placed")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine.txt", "new.py", "src"]
    assert (tmp_path / "mine.txt").read_text() == "mine"
