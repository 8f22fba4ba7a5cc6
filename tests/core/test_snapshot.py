"""A snapshot cannot contain a file that would be placed outside its folder."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import Digest, git_sha1, sha256
from preheat.core.errors import IntegrityError, NotFound
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot

DIGEST = sha256("0" * 64)
COMMIT = "0" * 40


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/x",
        "../x",
        "a/../b",
        "a//b",
        "./a",
        "a/",
        "a\\b",
        "a\x00b",
        "a\nb",
        "x" * 256,
        "é" * 128,
        "x/" + "y" * 256,
        "a/..",
        "..",
        "\ud800",
    ],
)
def test_an_invalid_file_name_is_rejected(path: str) -> None:
    with pytest.raises(IntegrityError):
        File(path, 1, DIGEST)


@given(st.text(min_size=1))
def test_every_valid_name_stays_below_its_folder(path: str) -> None:
    try:
        file = File(path, 1, DIGEST)
    except IntegrityError:
        return
    assert not file.path.startswith("/")
    assert ".." not in file.path.split("/")


def test_a_path_cannot_be_a_file_and_a_folder_or_occur_twice() -> None:
    for paths in (("a", "a"), ("a", "a/b"), ("a/b/c", "a/b")):
        with pytest.raises(IntegrityError):
            Snapshot(Ref.parse("me/x"), COMMIT, tuple(File(path, 1, DIGEST) for path in paths))


def test_patterns_select_files_and_a_pattern_without_match_is_an_error() -> None:
    snapshot = Snapshot(
        Ref.parse("me/x"), COMMIT, tuple(File(path, 1, DIGEST) for path in ("a.bin", "b/c.bin", "d.txt"))
    )
    assert [file.path for file in snapshot.only(["*.bin"]).files] == ["a.bin", "b/c.bin"]
    assert snapshot.only([]) is snapshot
    with pytest.raises(NotFound, match=r"'\*\.pt'"):
        snapshot.only(["*.bin", "*.pt"])


# ---- with a lock

_SHA256, _GIT = st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.from_regex(r"[0-9a-f]{40}", fullmatch=True)
_FILES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.builds(
        lambda size, digest: (size, digest),
        st.integers(0, 2),
        st.one_of(_SHA256.map(sha256), _GIT.map(git_sha1), st.sampled_from([sha256("1" * 64), git_sha1("2" * 40)])),
    ),
)


def _snapshot(files: dict[str, tuple[int, Digest]]) -> Snapshot:
    return Snapshot(Ref.parse("acme/tiny"), "a" * 40, tuple(File(path, *said) for path, said in files.items()))


@given(_FILES, _FILES)
def test_a_snapshot_gets_the_digests_of_its_lock_or_is_rejected(
    listed: dict[str, tuple[int, Digest]], locked: dict[str, tuple[int, Digest]]
) -> None:
    told, lock = _snapshot(listed), _snapshot(locked)
    try:
        held = told.held_to(lock)
    except IntegrityError:
        assert any(
            path not in listed
            or listed[path][0] != size
            or (listed[path][1].algorithm == digest.algorithm and listed[path][1] != digest)
            for path, (size, digest) in locked.items()
        )
        return
    assert [file.path for file in held.files] == list(listed), "none more, none less"
    assert {file.path: (file.size, file.digest) for file in held.files} == listed | locked
    assert held.at_paths(lock).files == lock.files


def test_a_path_is_no_longer_than_linux_permits() -> None:
    assert File("a/" * 2047 + "b", 1, DIGEST).path
    for path in ("a/" * 2048 + "b", "ü/" * 1365 + "b"):
        with pytest.raises(IntegrityError, match="cannot be a file"):
            File(path, 1, DIGEST)


def test_deep_paths_are_compared_in_linear_time() -> None:
    files = tuple(File("a/" * 2000 + str(number), 1, DIGEST) for number in range(1000))
    before = time.process_time()
    Snapshot(Ref.parse("acme/tiny"), COMMIT, files)
    assert time.process_time() - before < 0.5  # 0.01 s; 1.5 s if each folder above each file is looked up
    with pytest.raises(IntegrityError, match="both a file and a folder"):
        Snapshot(Ref.parse("acme/tiny"), COMMIT, (*files, File("a/a", 1, DIGEST)))
