"""Folder growth: each new file counts once, and what an app builds does not count."""

import os
import time
from pathlib import Path

import pytest

from preheat.proof.start.birth_time import birth_time
from preheat.proof.start.folder_growth import FolderGrowth, outermost, size_of


def _file(path: Path, size: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_nested_folders_links_and_hard_links_count_once(tmp_path: Path) -> None:
    places = [tmp_path / "checkpoints", tmp_path / "checkpoints/hf_cache", tmp_path / "checkpoints/hf_cache/bigvgan"]
    (tmp_path / "link").symlink_to(tmp_path / "checkpoints")
    growth = FolderGrowth([*places, tmp_path / "link"])
    blob = _file(places[2] / "model.bin")
    os.link(blob, places[0] / "again.bin")
    (places[0] / "other.bin").symlink_to(blob)
    assert growth.size == 1000
    assert size_of([*places, tmp_path / "link"]) == 1000


def test_only_new_and_replaced_files_count(tmp_path: Path) -> None:
    old, replaced = _file(tmp_path / "old.bin"), _file(tmp_path / "config.json", 10)
    growth = FolderGrowth([tmp_path])
    replaced.unlink()
    _file(replaced, 20)
    _file(tmp_path / "new.part", 5).rename(tmp_path / "new.bin")
    assert old.exists()
    assert growth.size == 25


def test_what_the_app_builds_is_no_download(tmp_path: Path) -> None:
    growth = FolderGrowth([tmp_path], built=[tmp_path / "grammar.fst", tmp_path / "members"])
    _file(tmp_path / "grammar.fst")
    _file(tmp_path / "members/one.bin")
    _file(tmp_path / "__pycache__/app.cpython-311.pyc")
    _file(tmp_path / "model.bin", 7)
    assert growth.size == 7


def test_a_new_file_elsewhere_counts_also_after_its_last_rename(tmp_path: Path) -> None:
    if birth_time(str(tmp_path)) is None:
        pytest.skip("this filesystem does not record when a file was created")
    old = _file(tmp_path / "elsewhere/old.log")
    time.sleep(0.05)  # file times have the kernel's ticks
    growth = FolderGrowth([tmp_path / "caches"])
    part = _file(tmp_path / "elsewhere/model.part", 5)
    growth.elsewhere([str(part), str(old), str(tmp_path / "gone")])
    part.rename(tmp_path / "elsewhere/model.bin")
    assert growth.size == 5
    assert growth.outside == (tmp_path / "elsewhere",)
    growth.look()
    assert growth.size == 5


def test_folders_below_others_are_left_out(tmp_path: Path) -> None:
    assert outermost([tmp_path / "a/b", tmp_path / "a", tmp_path / "ab"]) == (tmp_path / "a", tmp_path / "ab")
