"""Renaming files in a view."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import UsageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.views.names import renamed

segments = st.text("abc", min_size=1, max_size=3)
paths = st.lists(segments, min_size=1, max_size=3).map("/".join)


def snapshot(*files: str) -> Snapshot:
    return Snapshot(Ref.parse("hf:acme/tiny"), "0" * 40, tuple(File(path, 1, sha256("0" * 64)) for path in files))


def names(snapshot: Snapshot) -> list[str]:
    return [file.path for file in snapshot.files]


@given(paths)
def test_without_a_mapping_nothing_changes(path: str) -> None:
    assert renamed(snapshot(path), {}) == snapshot(path)


@given(paths, paths)
def test_a_file_is_renamed(path: str, name: str) -> None:
    assert names(renamed(snapshot(path), {path: name})) == [name]


@given(paths, paths, paths)
def test_a_folder_is_renamed_with_all_files_below_it(folder: str, path: str, to: str) -> None:
    assert names(renamed(snapshot(f"{folder}/{path}"), {f"{folder}/": f"{to}/"})) == [f"{to}/{path}"]
    assert names(renamed(snapshot(f"{folder}/{path}"), {f"{folder}/": ""})) == [path]


def test_the_names_that_indextts_needs_can_be_expressed() -> None:
    assert names(
        renamed(
            snapshot("semantic_codec/model.safetensors", "README.md"),
            {"semantic_codec/model.safetensors": "semantic_codec_model.safetensors"},
        )
    ) == ["semantic_codec_model.safetensors", "README.md"]


def test_the_longest_key_applies() -> None:
    to = {"a/": "folder/", "a/b/": "deeper/", "a/b/c": "file"}
    assert names(renamed(snapshot("a/x", "a/b/x", "a/b/c"), to)) == ["folder/x", "deeper/x", "file"]


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ({"c": "x"}, "no 'c'"),
        ({"a": "x"}, "no 'a'"),
        ({"b/": "x"}, "no 'b/'"),
        ({"a/x": "../x"}, "cannot be a file"),
        ({"a/x": "/x"}, "cannot be a file"),
        ({"a/": "/etc/"}, "cannot be a file"),
        ({"a/x": ""}, "cannot be a file"),
        ({"a/x": "b"}, "twice"),
        ({"a/x": "b/x"}, "both a file and a folder"),
    ],
)
def test_invalid_names_are_rejected(to: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        renamed(snapshot("a/x", "b"), to)
