"""The views in an image equal the views on a disk, path by path."""

import os
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.errors import ImageError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.oci.layers.layer import LARGE, LayerEntry
from preheat.verbs.building.view_tree import ViewTree
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.links import SYMLINK
from preheat.views.placer import place
from preheat.views.view_protocol import View

AT = Path("/opt/models")
LINKS = (SYMLINK,)
VIEWS: list[View] = [
    Flat(LINKS),
    HuggingFaceCache(LINKS),
    LocalDir(LINKS, lambda: 0.0),
    ModelScopeCache(LINKS),
    OldModelScopeCache(LINKS),
]


def snapshot(ref: str, commit: str, **sizes: int) -> Snapshot:
    files = (File(name.replace("__", "/"), size, sha256(f"{size:064x}")) for name, size in sizes.items())
    return Snapshot(Ref.parse(ref), commit * 40, tuple(files))


NEEDS = [
    snapshot("ms:acme/a.b", "a", weights=1, sub__config=2, old=3),
    snapshot("ms:acme/a.b", "b", weights=4, sub__config=2, new=5),
    snapshot("ms:acme/other", "c", weights=6),
]


def blob(digest: object) -> Path:
    return Path(f"/blobs/{digest}")


def on_disk(folder: Path) -> dict[str, object]:
    results: dict[str, object] = {}
    for top, folders, names in os.walk(folder):
        for name in [*names, *(one for one in folders if Path(top, one).is_symlink())]:
            path = Path(top, name)
            results[str(path.relative_to(folder))] = str(path.readlink()) if path.is_symlink() else path.read_bytes()
    return results


def in_image(tree: ViewTree) -> dict[str, object]:
    return {entry.path.removeprefix("opt/models/"): _content(entry) for entry, _ in tree.entries()}


def _content(entry: LayerEntry) -> object:
    return entry.target or entry.source or entry.body


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.kind)
def test_the_tree_equals_the_view_on_a_disk(view: View, tmp_path: Path) -> None:
    tree, blobs = ViewTree(lambda digest: tmp_path / digest.hex), tmp_path / "placed"
    for number, need in enumerate(NEEDS):
        for file in need.files:
            (tmp_path / file.digest.hex).write_bytes(b"x" * file.size)
        place(view, need, lambda digest: tmp_path / digest.hex, blobs, whole=number != 1)
        tree.lay(list(view.layout(need, AT, whole=number != 1)), str(number))
    assert in_image(tree) == on_disk(blobs)


def test_a_large_blob_is_stored_once_and_linked_to() -> None:
    tree = ViewTree(blob)
    files = {"a/big": LARGE, "b/big": LARGE, "small": 3}
    one = Snapshot(Ref.parse("hf:acme/x"), "a" * 40, tuple(File(*pair, sha256("a" * 64)) for pair in files.items()))
    tree.lay(list(Flat(LINKS).layout(one, AT, whole=True)), "x")
    entries = {entry.path: entry for entry, _ in tree.entries()}
    large = f"opt/preheat/blobs/sha256/{'a' * 64}"
    assert set(entries) == {"opt/models/a/big", "opt/models/b/big", "opt/models/small", large}
    assert entries["opt/models/a/big"].target == f"../../{large.removeprefix('opt/')}"
    assert entries[large].size == LARGE


def test_a_later_need_replaces_paths_of_an_earlier_one() -> None:
    tree = ViewTree(blob)
    for number, need in enumerate(NEEDS[:2]):
        tree.lay(list(Flat(LINKS).layout(need, AT, whole=True)), str(number))
    owners = {entry.path.rpartition("/")[2]: (entry.size, need) for entry, need in tree.entries()}
    assert owners == {"weights": (4, "1"), "config": (2, "0"), "old": (3, "0"), "new": (5, "1")}


@pytest.mark.parametrize("turned", [False, True])
def test_a_path_cannot_be_both_a_file_and_a_folder(turned: bool) -> None:
    needs = [snapshot("hf:acme/x", "a", models=1), snapshot("hf:acme/y", "b", models__deep__er=2)]
    tree = ViewTree(blob)
    first, second = reversed(needs) if turned else needs
    tree.lay(list(Flat(LINKS).layout(first, AT, whole=True)), "x")
    with pytest.raises(ImageError, match="both a file and a folder"):
        tree.lay(list(Flat(LINKS).layout(second, AT, whole=True)), "y")
