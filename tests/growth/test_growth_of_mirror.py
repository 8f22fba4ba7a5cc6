"""A request for a file costs the mirror the same, however many files the repository has."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library
from preheat.mirror.api.folders import Find, Shelf
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Request
from preheat.mirror.upstream.recorded_find import Kept
from preheat.mirror.upstream.saved_answers import Ledger
from tests.growth.counting import calls_of, grows_as_the_work, named_calls_of
from tests.library.shelves import file_of, keep

_DATA = b"x" * 100
_HEAD = Request("HEAD", "/acme/many/resolve/main/part-0.bin")


def _library(root: Path, count: int) -> Library:
    library = Library(root)
    digest = sha256(hashlib.sha256(_DATA).hexdigest())
    files = tuple(File(f"part-{number}.bin", len(_DATA), digest) for number in range(count))
    keep(library, files[0], _DATA)
    library.record(Snapshot(Ref.parse("hf:acme/many"), "a" * 40, files))
    return Library(root)  # which has no cached state yet


def _in_library(root: Path, count: int) -> Find:
    return Kept(_library(root, count)).find


def _in_folder(root: Path, count: int) -> Find:
    root.mkdir()
    for number in range(count):
        (root / f"part-{number}.bin").write_bytes(_DATA)
    os.utime(root, (0, 0))
    return Shelf({"acme/many": root}).find


@pytest.mark.parametrize("finding", [_in_library, _in_folder])
def test_a_head_request_costs_the_same_for_any_repository_size(
    tmp_path: Path, finding: Callable[[Path, int], Find]
) -> None:
    def cost(count: int) -> int:
        find = finding(tmp_path / str(count), count)
        assert answer(_HEAD, find).status == 200
        return min(calls_of(lambda: answer(_HEAD, find)) for _ in range(20))

    assert cost(300) <= cost(3) * 1.05


def test_the_first_head_request_of_each_file_costs_the_same_for_any_size(tmp_path: Path) -> None:
    def cost(count: int) -> int:
        library = Library(tmp_path / str(count))
        for number in range(count):
            keep(library, file_of(f"part-{number}.bin", b"%d" % number), b"%d" % number)
        files = tuple(file_of(f"part-{number}.bin", b"%d" % number) for number in range(count))
        library.record(Snapshot(Ref.parse("hf:acme/many"), "a" * 40, files))
        find = Kept(Library(library.root)).find

        def ask() -> None:
            for number in range(count):
                assert answer(Request("HEAD", f"/acme/many/resolve/main/part-{number}.bin"), find).status == 200

        return calls_of(ask)

    assert grows_as_the_work(cost(20), cost(100), 5)


def test_a_record_is_decoded_once_while_its_file_is_unchanged(tmp_path: Path) -> None:
    library = _library(tmp_path / "library", 30)
    kept = Kept(library)

    def ask() -> None:
        assert answer(_HEAD, kept.find).status == 200

    def ask_often() -> None:
        for _ in range(20):
            ask()

    assert named_calls_of(ask)["decode"] >= 1
    assert named_calls_of(ask_often)["_read"] == 0
    library.records.used(Ref.parse("hf:acme/many").at("a" * 40))  # recorded once a minute
    assert named_calls_of(ask)["_read"] == 0
    Library(library.root).record(Snapshot(Ref.parse("hf:acme/many"), "b" * 40, ()))  # as another process does
    assert answer(_HEAD, kept.find).status == 404
    assert named_calls_of(lambda: answer(_HEAD, kept.find))["_read"] == 0


def test_a_saved_upstream_response_is_decoded_once(tmp_path: Path) -> None:
    files = tuple(File(f"part-{number}.bin", 1, sha256(f"{number:064x}")) for number in range(30))
    snapshot = Snapshot(Ref.parse("hf:acme/many"), "a" * 40, files)
    ledger = Ledger(tmp_path)
    assert named_calls_of(lambda: list(map(ledger.note, [snapshot] * 20)))["_read"] == 0
    again = Ledger(tmp_path)
    assert named_calls_of(lambda: [again.find(snapshot.ref) for _ in range(20)])["_read"] == 1


def test_a_change_in_a_served_folder_is_noticed_at_once(tmp_path: Path) -> None:
    find = _in_folder(tmp_path / "folder", 300)
    answer(_HEAD, find)
    (tmp_path / "folder" / "part-0.bin").write_bytes(b"other")
    told = answer(Request("GET", _HEAD.target), find)
    assert told.status == 503 or told.headers["Content-Length"] == "5"
    assert answer(Request("GET", _HEAD.target), find).headers["Content-Length"] == "5"
    (tmp_path / "folder" / "new.bin").write_bytes(b"new")
    assert answer(Request("HEAD", "/acme/many/resolve/main/new.bin"), find).status == 200
