"""Each layout, byte by byte, as its own client writes it."""

import hashlib
import json
import pickle
import tracemalloc
from pathlib import Path

import pytest

from preheat.core.digest import git_sha1, sha256
from preheat.core.errors import LibraryError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.hf_tree import tree_listing
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.layouts.torch_hub import TorchHub
from preheat.views.layouts.whisper import Whisper
from preheat.views.links import WAYS
from preheat.views.placer import place as lay
from preheat.views.view_protocol import View
from tests.views.kept import COMMIT, MODEL, blob_path, keep, seen

VIEWS: list[View] = [
    HuggingFaceCache(),
    LocalDir(),
    ModelScopeCache(),
    OldModelScopeCache(),
    Flat(),
    Whisper(),
    TorchHub(),
]
OTHER = "f" * 40


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def at(tmp_path: Path) -> Path:
    return tmp_path / "at"


def place(view: View, library: Path, snapshot: Snapshot, at: Path, *, whole: bool = True) -> None:
    lay(view, snapshot, blob_path(library), at, whole=whole)


def blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.kind)
@pytest.mark.parametrize("ways", WAYS)
def test_placing_again_changes_nothing(view: View, ways: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = tmp_path
    if ways == "reflink":
        folder = request.getfixturevalue("xfs") / f"again-{view.kind}"
    library, at = folder / "library", folder / "at"
    view = type(view)(WAYS[ways])  # type: ignore[call-arg] # a view is made of its ways; the protocol does not say so
    snapshot = keep(library)

    def state() -> dict[Path, tuple[int, int, int]]:
        return {p: (p.lstat().st_ino, p.lstat().st_mtime_ns, p.lstat().st_ctime_ns) for p in at.rglob("*")}

    first = lay(view, snapshot, blob_path(library), at, whole=True)
    before = state()
    again = lay(view, snapshot, blob_path(library), at, whole=True)
    assert state() == before
    assert sum(first.links.values())
    assert (dict(again.links), again.copied) == ({}, 0)


def test_the_hugging_face_cache_links_from_commits_to_blobs(library: Path, at: Path) -> None:
    place(HuggingFaceCache(), library, keep(library), at)
    repo = at / "models--acme--tiny"
    assert seen(repo / "snapshots" / COMMIT) == dict(MODEL)
    pointer = repo / "snapshots" / COMMIT / "voices/deep/low.bin"
    low = hashlib.sha256(MODEL["voices/deep/low.bin"]).hexdigest()
    assert str(pointer.readlink()) == f"../../../../blobs/{low}"
    config = repo / "snapshots" / COMMIT / "config.json"
    assert str(config.readlink()) == f"../../blobs/{blob(MODEL['config.json'])}"
    assert (repo / "refs/main").read_bytes() == COMMIT.encode()


def test_only_a_complete_snapshot_has_a_tree_listing(library: Path, at: Path) -> None:
    snapshot = keep(library)
    place(HuggingFaceCache(), library, snapshot.only(["*.json"]), at, whole=False)
    place(LocalDir(), library, snapshot.only(["*.json"]), at / "dir", whole=False)
    trees = [at / "models--acme--tiny/trees", at / "dir/.cache/huggingface/trees"]
    assert not any(tree.exists() for tree in trees)
    place(HuggingFaceCache(), library, snapshot, at)
    place(LocalDir(), library, snapshot, at / "dir")
    for tree in trees:
        assert sorted(json.loads((tree / f"{COMMIT}.json").read_bytes())["files"]) == sorted(MODEL)


def test_a_tree_listing_written_by_the_client_stays(library: Path, at: Path) -> None:
    tree = at / "models--acme--tiny/trees" / f"{COMMIT}.json"
    tree.parent.mkdir(parents=True)
    tree.write_text("theirs")
    place(HuggingFaceCache(), library, keep(library), at)
    assert tree.read_text() == "theirs"


def test_a_tree_listing_of_many_files_needs_little_more_memory_than_its_bytes() -> None:
    files = (File(f"dir/{number}", 100, sha256(f"{number:064x}")) for number in range(2000))
    snapshot = Snapshot(Ref.parse("acme/many"), COMMIT, tuple(files))
    tree_listing(snapshot)
    tracemalloc.start()
    try:
        listed = tree_listing(snapshot)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert json.dumps(json.loads(listed), indent=1).encode() == listed
    assert peak < 2 * len(listed)


def test_a_tree_listing_names_a_large_file_by_its_pointer(library: Path) -> None:
    # git hash-object of the pointer file that git-lfs's specification shows, of a file of 12345 bytes.
    digest = sha256("4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393")
    snapshot = Snapshot(
        Ref.parse("hf:acme/tiny"), COMMIT, (File("b", 12345, digest), File("a", 0, git_sha1(blob(b""))))
    )
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest.hex}\nsize 12345\n".encode()
    assert tree_listing(snapshot).decode() == (
        '{\n "format_version": 1,\n "files": {\n'
        f'  "a": {{\n   "size": 0,\n   "blob_id": "{blob(b"")}"\n  }},\n'
        f'  "b": {{\n   "size": 12345,\n   "blob_id": "{blob(pointer)}",\n   "lfs_sha256": "{digest.hex}",\n'
        '   "lfs_size": 12345\n  }\n }\n}'
    )


@pytest.mark.parametrize(
    ("ref", "branch"),
    [
        ("hf:acme/tiny", "main"),
        ("hf:acme/tiny@v1", "v1"),
        ("hf:acme/tiny@refs/pr/1", "refs/pr/1"),
        # An app without a revision must find the pinned version.
        (f"hf:acme/tiny@{COMMIT}", "main"),
        # ModelScope's default branch is this client's default branch.
        ("ms:acme/tiny", "main"),
        ("ms:acme/tiny@v1", "v1"),
    ],
)
def test_the_branch_is_the_one_that_the_app_requests(ref: str, branch: str, library: Path, at: Path) -> None:
    place(HuggingFaceCache(), library, keep(library, ref), at)
    assert seen(at / "models--acme--tiny/refs") == {branch: COMMIT.encode()}


def test_the_local_dir_has_its_metadata(library: Path, at: Path) -> None:
    place(LocalDir(), library, keep(library), at)
    assert {path: body for path, body in seen(at).items() if not path.startswith(".")} == dict(MODEL)
    assert len((at / ".cache/huggingface/CACHEDIR.TAG").read_bytes()) == 191
    for home in (at / ".cache/huggingface", at / ".huggingface"):
        assert (home / ".gitignore").read_bytes() == b"*"
        commit, etag, seconds, rest = (home / "download/voices/deep/low.bin.metadata").read_text().split("\n")
        assert (commit, etag, rest) == (COMMIT, hashlib.sha256(MODEL["voices/deep/low.bin"]).hexdigest(), "")
        assert float(seconds) >= (at / "voices/deep/low.bin").stat().st_mtime - 1
        assert (home / "download/config.json.metadata").read_text().split("\n")[1] == blob(MODEL["config.json"])


def test_metadata_of_another_commit_is_replaced(library: Path, at: Path) -> None:
    place(LocalDir(), library, keep(library), at)
    place(LocalDir(), library, keep(library, commit=OTHER), at)
    assert (at / ".cache/huggingface/download/config.json.metadata").read_text().startswith(f"{OTHER}\n")


@pytest.mark.parametrize(
    ("ref", "revisions"),
    [
        ("ms:acme/tiny", {"master"}),
        ("ms:acme/tiny@v1.0.0", {"v1.0.0"}),
        (f"ms:acme/tiny@{COMMIT}", {"master", COMMIT}),
        ("hf:acme/tiny", {"master"}),
        (f"hf:acme/tiny@{COMMIT}", {"master", COMMIT}),
    ],
)
def test_modelscope_finds_the_revision_that_the_app_requests(
    ref: str, revisions: set[str], library: Path, at: Path
) -> None:
    place(ModelScopeCache(), library, keep(library, ref), at)
    snapshots = at / "models/acme--tiny/snapshots"
    assert {path.name for path in snapshots.iterdir()} == revisions
    assert all(seen(snapshots / revision) == dict(MODEL) for revision in revisions)


def test_modelscope_keeps_datasets_separate(library: Path, at: Path) -> None:
    place(ModelScopeCache(), library, keep(library, "ms:datasets/acme/rows"), at)
    assert seen(at / "datasets/acme--rows/snapshots/master") == dict(MODEL)


def test_old_modelscope_escapes_dots_and_lists_its_files(library: Path, at: Path) -> None:
    place(OldModelScopeCache(), library, keep(library, "ms:acme.ai/tiny-2.5"), at)
    repo = at / "models/acme.ai/tiny-2___5"
    assert str((at / "models/acme.ai/tiny-2.5").readlink()) == "tiny-2___5"
    assert {path: body for path, body in seen(repo).items() if not path.startswith(".")} == dict(MODEL)
    assert (repo / ".mdl").read_bytes()[:2] == b"\x80\x04"
    assert pickle.loads((repo / ".mdl").read_bytes()) == {"id": "acme.ai/tiny-2.5"}
    assert pickle.loads((repo / ".msc").read_bytes()) == [{"Path": path, "Revision": COMMIT} for path in sorted(MODEL)]
    assert (repo / ".mv").read_text() == "Revision:master,CreatedAt:0"


def test_old_modelscope_keeps_listing_existing_files(library: Path, at: Path) -> None:
    snapshot = keep(library, "ms:acme/tiny")
    place(OldModelScopeCache(), library, snapshot.only(["*.json"]), at)
    (at / "models/acme/tiny/same.json").unlink()
    other = keep(library, "ms:acme/tiny", commit=OTHER)
    place(OldModelScopeCache(), library, other.only(["*.pt"]), at)
    assert pickle.loads((at / "models/acme/tiny/.msc").read_bytes()) == [
        {"Path": "config.json", "Revision": COMMIT},
        {"Path": "weights.pt", "Revision": OTHER},
    ]


def test_a_pickle_in_a_cache_is_never_run(library: Path, at: Path, tmp_path: Path) -> None:
    repo = at / "models/acme/tiny"
    repo.mkdir(parents=True)
    # The pickle of an object whose __reduce__ returns (pathlib.Path.touch, (…,)).
    (repo / ".msc").write_bytes(b"cpathlib\nPath.touch\n(cpathlib\nPath\n(V%s\ntRtR." % bytes(tmp_path / "ran"))
    place(OldModelScopeCache(), library, keep(library, "ms:acme/tiny"), at)
    assert not (tmp_path / "ran").exists()
    assert len(pickle.loads((repo / ".msc").read_bytes())) == len(MODEL)


@pytest.mark.parametrize("view", [ModelScopeCache(), OldModelScopeCache()], ids=lambda view: view.kind)
@pytest.mark.parametrize("ref", ["file:/srv/voice", "hf:gpt2"])
def test_a_repository_without_an_owner_has_no_modelscope_view(view: View, ref: str, library: Path, at: Path) -> None:
    with pytest.raises(LibraryError, match="owner/name"):
        place(view, library, keep(library, ref), at)
    assert not at.exists()


def test_a_flat_folder_has_the_files_and_nothing_else(library: Path, at: Path) -> None:
    place(Flat(), library, keep(library), at)
    assert seen(at) == dict(MODEL)


def test_whisper_has_only_models_by_their_last_name(library: Path, at: Path) -> None:
    place(Whisper(), library, keep(library, files={"a/tiny.en.pt": b"t" * 2000, "README.md": b""}), at)
    assert seen(at) == {"whisper/tiny.en.pt": b"t" * 2000}
    with pytest.raises(LibraryError, match=r"no \.pt file"):
        place(Whisper(), library, keep(library, files={"README.md": b""}), at)


def test_torch_hub_has_files_by_their_last_name(library: Path, at: Path) -> None:
    place(TorchHub(), library, keep(library, files={"nets/vgg-397923af.pth": b"v" * 2000}), at)
    assert seen(at) == {"hub/checkpoints/vgg-397923af.pth": b"v" * 2000}


def test_two_different_files_with_one_last_name_are_rejected(library: Path, at: Path) -> None:
    place(TorchHub(), library, keep(library, files={"a/x.pth": b"1", "b/x.pth": b"1"}), at / "same")
    assert seen(at / "same") == {"hub/checkpoints/x.pth": b"1"}
    with pytest.raises(LibraryError, match=r"both a/x\.pth and b/x\.pth"):
        place(TorchHub(), library, keep(library, files={"a/x.pth": b"1", "b/x.pth": b"2"}), at)


def test_each_layout_has_the_variables_that_lead_its_client_there(at: Path) -> None:
    assert {view.kind: set(view.environ(at).items()) for view in VIEWS} == {
        "hf-cache": {("HF_HUB_CACHE", str(at)), ("HUGGINGFACE_HUB_CACHE", str(at))},
        "local-dir": set(),
        "modelscope": {("MODELSCOPE_CACHE", str(at))},
        "modelscope-old": {("MODELSCOPE_CACHE", str(at))},
        "flat": set(),
        "whisper": {("XDG_CACHE_HOME", str(at))},
        "torch-hub": {("TORCH_HOME", str(at))},
    }


@pytest.mark.parametrize("view", [view for view in VIEWS if view.kind != "whisper"], ids=lambda view: view.kind)
@pytest.mark.parametrize("ways", ["symlink", "copy"])
@pytest.mark.parametrize("letters", [(251, "v", ".wav"), (83, "声", "ab.wav"), (247, "v", ""), (246, "v", "")])
def test_a_name_of_up_to_255_bytes_is_placed(
    view: View, ways: str, letters: tuple[int, str, str], tmp_path: Path
) -> None:
    view = type(view)(WAYS[ways])  # type: ignore[call-arg] # see above
    count, letter, ending = letters
    snapshot = keep(tmp_path / "library", files={letter * count + ending: b"voice"})
    for _ in range(2):
        place(view, tmp_path / "library", snapshot, tmp_path / "at")
    assert b"voice" in seen(tmp_path / "at").values()
