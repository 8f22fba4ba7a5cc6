"""View, end to end: the files that a pull places for other programs, and their disk usage."""

from pathlib import Path

import pytest

from tests.command import Preheat
from tests.stories.disk import disk
from tests.stories.kept import contents, settled


def repository(cache: Path) -> Path:
    return cache / "models--acme--tiny"


def snapshot(cache: Path) -> Path:
    (one,) = (repository(cache) / "snapshots").iterdir()
    return one


def test_placing_twice_changes_nothing(preheat: Preheat) -> None:
    words = ("pull", "acme/tiny", "--view", "hf-cache=cache")
    assert preheat(*words).status == 0
    cache = preheat.folder / "cache"
    # A ref is rewritten each time, since it may move; its content is the same.
    before = {name: was for name, was in settled(cache).items() if "/refs/" not in name}
    assert preheat(*words).status == 0
    assert {name: was for name, was in settled(cache).items() if "/refs/" not in name} == before
    assert not [name for name in settled(cache) if name.endswith(".new")]


def test_a_branch_file_has_forty_digits_and_no_newline(preheat: Preheat) -> None:
    preheat("pull", "acme/tiny", "--view", "hf-cache=cache")
    cache = preheat.folder / "cache"
    written = (repository(cache) / "refs/main").read_bytes()
    assert len(written) == 40
    assert written.decode() == snapshot(cache).name


def test_a_view_uses_no_second_copy(preheat: Preheat) -> None:
    preheat("pull", "acme/tiny", "--view", "hf-cache=cache")
    pointer = snapshot(preheat.folder / "cache") / "model.safetensors"
    assert not pointer.readlink().is_absolute()
    blob = preheat.library / "blobs/sha256" / pointer.resolve().name[:2] / pointer.resolve().name
    # A reflink is a file of its own that shares the bytes; a hard link is the same file.
    assert pointer.stat().st_nlink > 1 or pointer.stat().st_ino != blob.stat().st_ino
    assert pointer.read_bytes() == blob.read_bytes()


def test_on_another_filesystem_it_links_to_the_library(preheat: Preheat, model: Path) -> None:
    with disk(preheat.folder / "disk", "size=1m") as other:
        told = preheat("pull", "acme/tiny", "--view", f"hf-cache={other.mounted}/cache", inside=other.inside)
        assert told.status == 0, told.err
        cache = other.path / "cache"
        pointer = snapshot(cache) / "voices/deep/low.bin"
        blob = pointer.parent / pointer.readlink()
        assert blob.is_symlink()
        assert blob.readlink().is_relative_to(preheat.library)
        assert contents(snapshot(cache)) == contents(model)


def test_removed_files_are_placed_again_and_changed_files_are_the_users(preheat: Preheat, model: Path) -> None:
    words = ("pull", "acme/tiny", "--view", "hf-cache=cache")
    preheat(*words)
    pointer = snapshot(preheat.folder / "cache") / "model.safetensors"
    pointer.resolve().unlink()
    pointer.with_name("config.json").unlink()
    pointer.with_name("config.json").write_text("mine")
    told = preheat(*words)
    assert told.status == 5, told.err
    assert "config.json" in told.err
    assert "model.safetensors" not in told.err
    assert preheat(*words, "--replace").status == 0
    assert contents(pointer.parent) == contents(model) | {"config.json.before-preheat": b"mine"}


def test_two_commits_exist_side_by_side(preheat: Preheat, model: Path) -> None:
    preheat("pull", "acme/tiny", "--files", "config.json", "--view", "hf-cache=cache")
    preheat("pull", "acme/tiny", "--files", "note.txt", "--view", "hf-cache=cache")
    preheat("pull", "hf:datasets/acme/rows", "--files", "note.txt", "--view", "hf-cache=cache")
    cache = preheat.folder / "cache"
    assert sorted(contents(snapshot(cache))) == ["config.json", "note.txt"]
    assert (cache / "datasets--acme--rows").is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hf-cache", "is not a view and a folder"),
        ("hf-cache=", "is not a view and a folder"),
        ("shelf=cache", "'shelf' is not a view"),
        ("hf-cache=file/cache", "file"),
    ],
)
def test_a_view_that_cannot_be_placed_is_reported(preheat: Preheat, words: str, said: str) -> None:
    (preheat.folder / "file").touch()
    told = preheat("pull", "acme/tiny", "--files", "*.json", "--view", words)
    assert told.status == (5 if "file/" in words else 2), told.err
    assert said in told.err
    assert "hint:" in told.err
    assert "Traceback" not in told.err
