"""Decoded files: a file is decoded once while it is unchanged, and the cache is bounded."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.library.decoded_files import Decoded
from tests.growth.counting import operations


class Decoding:
    """Decode files as text, and count the calls."""

    def __init__(self, heaviest: int = 100, *, looks_first: bool = False) -> None:
        self.count = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.decoded = Decoded(self._decode, len, heaviest, looks_first=looks_first)

    def _decode(self, path: Path) -> tuple[str, os.stat_result] | None:
        self.count += 1
        try:
            with open(path) as file:
                text, status = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        if text == "bad":
            raise ValueError(text)
        self.meanwhile()
        return text, status


def replace_whole(path: Path, text: str) -> None:
    aside = path.with_name("aside")
    aside.write_text(text)
    aside.rename(path)


def test_a_file_is_decoded_again_only_after_it_was_replaced(tmp_path: Path) -> None:
    decoding, path = Decoding(), tmp_path / "file"
    assert decoding.decoded.read(path) is None
    replace_whole(path, "one")
    assert [decoding.decoded.read(path) for _ in range(5)] == ["one"] * 5
    count = decoding.count
    decoding.decoded.touch(path)
    assert decoding.decoded.read(path) == "one"
    assert decoding.count == count
    replace_whole(path, "two")
    assert decoding.decoded.read(path) == "two"
    path.unlink()
    assert decoding.decoded.read(path) is None


def test_a_decoding_error_is_raised_each_time(tmp_path: Path) -> None:
    decoding, path = Decoding(), tmp_path / "file"
    replace_whole(path, "bad")
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            decoding.decoded.read(path)
    assert decoding.count == 2


def test_the_least_recently_read_entry_is_evicted(tmp_path: Path) -> None:
    decoding = Decoding(heaviest=100)
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        replace_whole(path, "x" * 10)
        decoding.decoded.read(path)
    before = decoding.count
    decoding.decoded.read(paths[-1])
    assert decoding.count == before
    decoding.decoded.read(paths[0])
    assert decoding.count == before + 1


def test_a_value_written_by_this_process_is_cached_unless_another_process_replaced_the_file(tmp_path: Path) -> None:
    decoding, path = Decoding(), tmp_path / "file"
    replace_whole(path, "mine")
    inode = path.stat().st_ino
    decoding.decoded.wrote(path, inode, "mine")
    assert decoding.decoded.read(path) == "mine"
    assert decoding.count == 0
    replace_whole(path, "others")
    decoding.decoded.wrote(path, -1, "mine")
    assert decoding.decoded.read(path) == "others"


def test_threads_that_need_the_same_file_wait_for_one_decode(tmp_path: Path) -> None:
    decoding, path = Decoding(), tmp_path / "file"
    replace_whole(path, "one")
    start = threading.Barrier(8)

    def read() -> None:
        start.wait()
        decoding.decoded.read(path)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoding.count == 1


def test_a_file_that_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    path, count = tmp_path / "file", 0

    def decode(path: Path) -> tuple[str, os.stat_result]:
        nonlocal count
        count += 1
        return "text", path.stat()

    replace_whole(path, "one")
    young: Decoded[str] = Decoded(decode, len, settled_s=3600.0)
    assert [young.read(path) for _ in range(3)] == ["text"] * 3
    assert count == 3


def test_a_symlink_is_read_anew_when_its_target_was_replaced(tmp_path: Path) -> None:
    decoding, path, link = Decoding(), tmp_path / "file", tmp_path / "link"
    link.symlink_to(path)
    assert decoding.decoded.read(link) is None
    for text in ("one", "two"):
        replace_whole(path, text)
        assert [decoding.decoded.read(link) for _ in range(2)] == [text] * 2


@pytest.mark.parametrize("looks_first", [False, True])
def test_a_file_that_was_replaced_while_it_was_decoded_is_not_kept(tmp_path: Path, *, looks_first: bool) -> None:
    decoding, path = Decoding(looks_first=looks_first), tmp_path / "file"
    replace_whole(path, "one")
    decoding.meanwhile = lambda: replace_whole(path, "two")
    assert decoding.decoded.read(path) == "one"
    decoding.meanwhile = lambda: None
    assert [decoding.decoded.read(path) for _ in range(3)] == ["two"] * 3
    assert decoding.count == 2
    path.unlink()
    assert decoding.decoded.read(path) is None


def test_the_first_read_of_a_file_on_a_share_is_one_round_trip(tmp_path: Path) -> None:
    decoding, path = Decoding(), tmp_path / "file"
    replace_whole(path, "one")
    with operations(tmp_path, shared=True) as first:
        assert decoding.decoded.read(path) == "one"
    with operations(tmp_path) as again:
        assert decoding.decoded.read(path) == "one"
    assert (sum(first.values()), dict(again)) == (1, {"stats": 1})
