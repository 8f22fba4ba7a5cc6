"""The model folders of apps have all files of a model in them, whatever a hub calls these."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.views.app_layouts.by_repository import LlamaCpp, TextGeneration
from preheat.views.app_layouts.model_reader import ModelReader
from preheat.views.app_layouts.ollama import OllamaStore
from preheat.views.view_protocol import PlacedFile


@pytest.mark.parametrize(
    "names",
    [
        ("...gguf", "mmproj-x.gguf"),
        ("..gguf", "mmproj-x.gguf"),
        ("a/...gguf", "mmproj-x.gguf"),
        ("..-00001-of-00002.gguf", "..-00002-of-00002.gguf"),
    ],
)
def test_a_model_called_as_the_folder_above_leaves_no_folder(tmp_path: Path, names: Sequence[str]) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"GGUF" + bytes(100))
    files = tuple(File(name, 104, sha256(f"{number:064x}")) for number, name in enumerate(names))
    snapshot = Snapshot(Ref.parse("hf:acme/tiny"), "0" * 40, files)
    reader = ModelReader(lambda _: blob)
    for view in (LlamaCpp(reader, ()), TextGeneration(reader, ())):
        placed = [one.at for one in view.sort(snapshot, tmp_path / "app")]
        assert len(placed) == len(names)
        assert not any(at is None or ".." in at.parts for at in placed)


def test_ollama_says_where_a_file_is_exactly_if_it_places_it(tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"GGUF" + bytes(100))
    names = ("a.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "mmproj-F16.gguf", "mmproj-F32.gguf")
    files = tuple(File(name, 104, sha256(f"{number:064x}")) for number, name in enumerate(names))
    snapshot = Snapshot(Ref.parse("hf:acme/tiny"), "0" * 40, files)
    view = OllamaStore(ModelReader(lambda _: blob), ())
    placed = {one.at for one in view.layout(snapshot, tmp_path, whole=True) if isinstance(one, PlacedFile)}
    told = view.sort(snapshot, tmp_path)
    assert {one.at for one in told if one.at is not None} == placed
    assert [one.file.path for one in told if one.why] == [names[1], names[2], names[4]]
