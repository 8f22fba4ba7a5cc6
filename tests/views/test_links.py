"""Links: the kind of link that is used where, and existing files."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.core.errors import LibraryError, UsageError
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.links import AUTO, COPY, HARDLINK, SHIELDED, SYMLINK, WAYS, link, read_ways
from preheat.views.placer import place
from tests.views.kept import MODEL, blob_path, keep, seen


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    blob = tmp_path / "library/blob"
    blob.parent.mkdir()
    blob.write_bytes(b"sealed")
    blob.chmod(0o444)
    os.utime(blob, ns=(10**18, 10**18))
    return blob


@pytest.fixture
def fat(tmp_path: Path) -> Iterator[Path]:
    """A filesystem without links and case-insensitive; the type depends on the kernel."""
    image, at = tmp_path / "image", tmp_path / "fat"
    at.mkdir()
    with open(image, "wb") as file:
        file.truncate(20_000_000)
    try:
        found = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there is no loop device here: {error}")
    device = found.stdout.strip()
    try:
        for make, mount in (("mkfs.vfat", "mount"), ("mkfs.exfat", "mount.exfat-fuse")):
            try:
                subprocess.run([make, device], check=True, capture_output=True)
                subprocess.run([mount, device, at], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            yield at
            subprocess.run(["umount", at], check=True)
            return
        pytest.skip("neither vfat nor exfat can be made and mounted here")
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def how(blob: Path, at: Path) -> str:
    if at.is_symlink():
        return SYMLINK
    return HARDLINK if at.samefile(blob) else COPY


@pytest.mark.parametrize("before", ["nothing", HARDLINK, SYMLINK, COPY, "another file", "a dangling link"])
@pytest.mark.parametrize("way", [HARDLINK, SYMLINK, COPY])
def test_a_requested_kind_of_link_is_used(blob: Path, tmp_path: Path, before: str, way: str) -> None:
    at = tmp_path / "at"
    match before:
        case "another file":
            at.write_text("another")
        case "a dangling link":
            at.symlink_to(tmp_path / "nowhere")
        case "nothing":
            pass
        case _:
            link(blob, at, (before,))
    assert link(blob, at, (way,)) == (None if before == way else way)
    assert how(blob, at) == way
    assert at.read_bytes() == b"sealed"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at", "library"]


@pytest.mark.parametrize("before", [HARDLINK, SYMLINK, COPY])
def test_auto_leaves_correct_files_as_they_are(blob: Path, tmp_path: Path, before: str) -> None:
    link(blob, tmp_path / "at", (before,))
    assert link(blob, tmp_path / "at", AUTO) is None


def test_a_shielded_app_gets_no_hard_link(blob: Path, tmp_path: Path) -> None:
    link(blob, tmp_path / "at", (HARDLINK,))
    assert link(blob, tmp_path / "at", SHIELDED) in ("reflink", SYMLINK)


def test_a_modified_copy_is_placed_again(blob: Path, tmp_path: Path) -> None:
    at = tmp_path / "at"
    link(blob, at, (COPY,))
    at.write_bytes(b"theirs")
    # Within the timestamp resolution of some filesystems after sealing.
    os.utime(at, ns=(10**18, 10**18 + 1_234_567))
    assert link(blob, at, AUTO) is not None
    assert at.read_bytes() == b"sealed"


def test_a_copy_is_writable_by_its_owner(blob: Path, tmp_path: Path) -> None:
    link(blob, tmp_path / "at", (COPY,))
    assert (tmp_path / "at").stat().st_mode & 0o200


def test_a_blob_with_the_maximum_number_of_links_is_placed_otherwise(blob: Path, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.mkdir()
    with contextlib.suppress(OSError):
        for number in range(70_000):
            os.link(blob, names / str(number))
    if len(list(names.iterdir())) == 70_000:
        pytest.skip("this filesystem has no limit")
    assert link(blob, tmp_path / "at", AUTO) == SYMLINK


def test_a_folder_in_the_way_is_reported_and_no_file_is_left_behind(blob: Path, tmp_path: Path) -> None:
    (tmp_path / "at").mkdir()
    with pytest.raises(LibraryError, match="is a directory"):
        link(blob, tmp_path / "at", AUTO)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at", "library"]


def test_a_kind_of_link_that_fails_is_reported_with_one_that_works(blob: Path, fat: Path) -> None:
    with pytest.raises(LibraryError, match="cannot be a hardlink") as caught:
        link(blob, fat / "at", (HARDLINK,))
    assert "--link copy" in caught.value.hint
    assert list(fat.iterdir()) == []


def test_unknown_kinds_of_link_are_rejected() -> None:
    assert read_ways("auto") == AUTO
    with pytest.raises(UsageError, match="'hard' is not a way to link"):
        read_ways("hard")
    assert set(WAYS) == {"auto", "reflink", "hardlink", "symlink", "copy"}


@pytest.mark.parametrize("view", [HuggingFaceCache(), LocalDir(), Flat()], ids=lambda view: view.kind)
def test_without_links_files_are_copied_once(
    view: HuggingFaceCache | LocalDir | Flat, tmp_path: Path, fat: Path
) -> None:
    snapshot = keep(tmp_path / "library")
    placed = place(view, snapshot, blob_path(tmp_path / "library"), fat / "at", whole=True)
    assert placed.copied == snapshot.size
    assert set(placed.links) == {COPY}
    at = fat / "at"
    folder = at / "models--acme--tiny/snapshots" / snapshot.commit if isinstance(view, HuggingFaceCache) else at
    assert {path: body for path, body in seen(folder).items() if not path.startswith(".")} == dict(MODEL)
    again = place(view, snapshot, blob_path(tmp_path / "library"), fat / "at", whole=True)
    assert (again.copied, dict(again.links)) == (0, {})


def test_two_files_are_not_merged_on_a_case_insensitive_filesystem(tmp_path: Path, fat: Path) -> None:
    snapshot = keep(tmp_path / "library", files={"Vocab.txt": b"A", "vocab.txt": b"a"})
    place(Flat(), snapshot, blob_path(tmp_path / "library"), tmp_path / "at", whole=True)
    assert seen(tmp_path / "at") == {"Vocab.txt": b"A", "vocab.txt": b"a"}
    with pytest.raises(LibraryError, match=r"Vocab\.txt and vocab\.txt have the same name"):
        place(Flat(), snapshot, blob_path(tmp_path / "library"), fat / "at", whole=True)
    assert (fat / "at/Vocab.txt").read_bytes() == b"A"
    snapshot = keep(tmp_path / "library", files={"A/x": b"A", "a/x": b"a"})
    with pytest.raises(LibraryError, match="A/x and a/x have the same name"):
        place(Flat(), snapshot, blob_path(tmp_path / "library"), fat / "other", whole=True)
