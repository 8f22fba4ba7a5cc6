"""The blobs that symlinks of views lead to, directly or by way of other links."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.library.records.claims import linked

NAME = "sha256:" + "ab" * 32
BLOB = "sha256/ab/" + "ab" * 32


def _direct(view: Path, blob: Path) -> None:
    (view / "model.bin").symlink_to(blob)


def _by_another_name(view: Path, blob: Path) -> None:
    (view / "blobs").mkdir()
    (view / "blobs" / "abab").symlink_to(blob)
    (view / "snapshots").mkdir()
    (view / "snapshots" / "model.bin").symlink_to("../blobs/abab")


def _relative(view: Path, blob: Path) -> None:
    (view / "model.bin").symlink_to(os.path.relpath(blob, view))


def _by_a_link_elsewhere(view: Path, blob: Path) -> None:
    (view.parent / "elsewhere").symlink_to(blob)
    (view / "model.bin").symlink_to(view.parent / "elsewhere")


def _by_a_folder_that_is_a_link(view: Path, blob: Path) -> None:
    (view / "blobs").symlink_to(blob.parent)
    (view / "model.bin").symlink_to(f"blobs/{blob.name}")


def _by_another_path_of_the_library(view: Path, blob: Path) -> None:
    (view.parent / "same").symlink_to(blob.parents[3])
    (view / "model.bin").symlink_to(view.parent / "same" / "blobs" / BLOB)


@pytest.mark.parametrize(
    "link",
    [
        _direct,
        _by_another_name,
        _relative,
        _by_a_link_elsewhere,
        _by_a_folder_that_is_a_link,
        _by_another_path_of_the_library,
    ],
)
@pytest.mark.parametrize("of", ["view", "same-view"])
def test_a_link_is_followed_to_its_blob(link: Callable[[Path, Path], None], of: str, tmp_path: Path) -> None:
    blob, view = tmp_path / "library" / "blobs" / BLOB, tmp_path / "view"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"weights")
    view.mkdir()
    (tmp_path / "same-view").symlink_to(view)
    (view / "config.json").write_text("{}")
    (view / "broken").symlink_to("nowhere")
    (view / "around").symlink_to("around")
    link(view, blob)
    assert NAME in linked(tmp_path / of, tmp_path / "library" / "blobs")


def test_links_to_other_files_lead_to_no_blob(tmp_path: Path) -> None:
    (tmp_path / "library" / "blobs").mkdir(parents=True)
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "one").symlink_to("/etc/hostname")
    (tmp_path / "view" / "other").symlink_to("one")
    assert linked(tmp_path / "view", tmp_path / "library" / "blobs") == set()
