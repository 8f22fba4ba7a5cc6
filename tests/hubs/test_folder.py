"""A folder as a hub: it lists its own files, and reads nothing outside."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import HubError, IntegrityError, NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.hubs.folder import Folder
from preheat.hubs.hub import Hub

MIB = 1024 * 1024


def _ref(root: Path) -> Ref:
    return Ref.parse(f"file:{root}")


def _read(hub: Hub, snapshot: Snapshot, path: str, start: int = 0, stop: int | None = None) -> bytes:
    file = snapshot.file(path)
    assert file is not None
    reader = hub.open(snapshot, file, start, file.size if stop is None else stop)
    content, buffer = b"", memoryview(bytearray(7000))
    while count := reader.readinto(buffer):
        content += buffer[:count]
    reader.close()
    return content


def test_lists_files_in_order_with_sizes_and_digests(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "small.txt").write_bytes(b"hello\n")
    (tmp_path / "a.empty").touch()
    (tmp_path / "c.bin").write_bytes(b"x" * (MIB + 1))
    (tmp_path / "nothing").mkdir()
    snapshot = Folder().resolve(_ref(tmp_path))
    assert [(file.path, file.size, str(file.digest)) for file in snapshot.files] == [
        ("a.empty", 0, "git-sha1:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        ("b/small.txt", 6, "git-sha1:ce013625030ba8dba906f756967f9e9ca394464a"),
        ("c.bin", MIB + 1, f"sha256:{hashlib.sha256(b'x' * (MIB + 1)).hexdigest()}"),
    ]


@pytest.mark.parametrize(("size", "algorithm"), [(MIB - 1, "git-sha1"), (MIB, "sha256"), (3 * MIB + 5, "sha256")])
def test_large_files_have_the_same_kind_of_digest_as_on_a_hub(tmp_path: Path, size: int, algorithm: str) -> None:
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    (file,) = Folder().resolve(_ref(tmp_path)).files
    hasher = file.digest.hasher(size)
    hasher.update(content)
    assert (file.size, file.digest.algorithm, file.digest.hex) == (size, algorithm, hasher.hexdigest())


def test_folders_of_tools_are_left_out(tmp_path: Path) -> None:
    for name in (".git/config", ".cache/huggingface/download/a.metadata", "sub/.git/HEAD", ".gitattributes"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [file.path for file in Folder().resolve(_ref(tmp_path)).files] == [".gitattributes"]


def test_the_commit_changes_only_when_a_file_changes(tmp_path: Path) -> None:
    hub = Folder()
    (tmp_path / "a").write_text("one")
    first = hub.resolve(_ref(tmp_path))
    assert first.commit == Folder().resolve(_ref(tmp_path)).commit
    assert hub.resolve(_ref(tmp_path).at(first.commit)).files == first.files
    (tmp_path / "a").write_text("two")
    second = hub.resolve(_ref(tmp_path))
    assert second.commit != first.commit
    assert _read(hub, second, "a") == b"two"
    with pytest.raises(NotFound, match="not at"):
        hub.resolve(_ref(tmp_path).at(first.commit))


def test_an_unchanged_file_is_not_hashed_again(tmp_path: Path) -> None:
    hub = Folder()
    (tmp_path / "a").write_text("one")
    before = hub.resolve(_ref(tmp_path)).files[0]
    assert hub.resolve(_ref(tmp_path)).files[0] is before


@given(st.binary(max_size=20_000), st.integers(0, 20_000), st.integers(0, 20_000))
def test_a_range_is_that_slice_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: int, stop: int
) -> None:
    root = tmp_path_factory.mktemp("range")
    (root / "f").write_bytes(content)
    start, stop = sorted((min(start, len(content)), min(stop, len(content))))
    hub = Folder()
    assert _read(hub, hub.resolve(_ref(root)), "f", start, stop) == content[start:stop]


def test_a_link_to_a_file_inside_counts_as_that_file(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "b").write_text("weights")
    (tmp_path / "model.bin").symlink_to("blobs/b")
    hub = Folder()
    assert _read(hub, hub.resolve(_ref(tmp_path)), "model.bin") == b"weights"


def test_a_link_to_the_outside_is_an_error_and_not_left_out_silently(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    root = tmp_path / "root"
    root.mkdir()
    (root / "model.bin").symlink_to("../secret")
    with pytest.raises(HubError, match="a link out of"):
        Folder().resolve(_ref(root))


def test_a_link_created_after_the_listing_is_not_followed_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    root = tmp_path / "root"
    root.mkdir()
    (root / "a").write_text("a")
    hub = Folder()
    snapshot = hub.resolve(_ref(root))
    (root / "a").unlink()
    (root / "a").symlink_to("../secret")
    with pytest.raises(HubError, match="a link out of"):
        hub.open(snapshot, snapshot.files[0], 0, 1)


@pytest.mark.parametrize("target", ["nowhere", ".", "sub"])
def test_a_link_to_a_missing_file_is_an_error(tmp_path: Path, target: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(HubError, match="a link to no file"):
        Folder().resolve(_ref(tmp_path))


def test_entries_that_are_no_regular_files_are_ignored(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert Folder().resolve(_ref(tmp_path)).files == ()


def test_names_that_hubs_do_not_allow_are_rejected(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.bin")).touch()
    with pytest.raises(HubError, match="UTF-8"):
        Folder().resolve(_ref(tmp_path))


def test_a_name_with_a_newline_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a\nb").touch()
    with pytest.raises(IntegrityError):
        Folder().resolve(_ref(tmp_path))


def test_a_missing_folder_or_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="not a folder"):
        Folder().resolve(_ref(tmp_path / "none"))
    (tmp_path / "a").write_text("a")
    snapshot = Folder().resolve(_ref(tmp_path))
    (tmp_path / "a").unlink()
    with pytest.raises(NotFound, match="is gone"):
        Folder().open(snapshot, snapshot.files[0], 0, 1)
