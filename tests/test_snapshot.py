"""A snapshot cannot name a file that would be placed outside its folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.digest import sha256
from preheat.errors import IntegrityError, NotFound
from preheat.ref import Ref
from preheat.snapshot import File, Snapshot

DIGEST = sha256("0" * 64)
COMMIT = "0" * 40


@pytest.mark.parametrize("path", ["", "/x", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\x00b", "a\nb", "x" * 256])
def test_a_hostile_name_is_refused(path: str) -> None:
    with pytest.raises(IntegrityError):
        File(path, 1, DIGEST)


@given(st.text(min_size=1))
def test_every_name_that_passes_stays_below_its_folder(path: str) -> None:
    try:
        file = File(path, 1, DIGEST)
    except IntegrityError:
        return
    assert not file.path.startswith("/")
    assert ".." not in file.path.split("/")


def test_a_file_cannot_be_a_folder_too_nor_be_there_twice() -> None:
    for paths in (("a", "a"), ("a", "a/b"), ("a/b/c", "a/b")):
        with pytest.raises(IntegrityError):
            Snapshot(Ref.parse("me/x"), COMMIT, tuple(File(path, 1, DIGEST) for path in paths))


def test_patterns_choose_files_and_one_that_matches_nothing_is_an_error() -> None:
    snapshot = Snapshot(
        Ref.parse("me/x"), COMMIT, tuple(File(path, 1, DIGEST) for path in ("a.bin", "b/c.bin", "d.txt"))
    )
    assert [file.path for file in snapshot.only(["*.bin"]).files] == ["a.bin", "b/c.bin"]
    assert snapshot.only([]) is snapshot
    with pytest.raises(NotFound, match=r"'\*\.pt'"):
        snapshot.only(["*.bin", "*.pt"])
