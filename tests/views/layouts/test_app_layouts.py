"""The model folders of apps have all files of a model in them, whatever a hub calls these."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.views.app_layouts.by_repository import LlamaCpp, TextGeneration
from preheat.views.app_layouts.model_reader import ModelReader


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
