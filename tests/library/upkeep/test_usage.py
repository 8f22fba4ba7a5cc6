"""The survey reports the disk usage of each version: its own bytes and shared ones, each once."""

from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.upkeep.inventory import blob_numbers, inventory
from preheat.library.upkeep.usage import Survey, survey
from tests.library.shelves import file_of, keep, shelve

BIG, OTHER, SMALL = b"b" * 5000, b"o" * 3000, b"small"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def surveyed(library: Library) -> Survey:
    return survey(library.records, library.root / "blobs", library.pins)


def test_bytes_shared_by_two_versions_are_stored_once_and_belong_to_neither(library: Library) -> None:
    shelve(library, "me/voice@v1", {"big.bin": BIG, "config.json": SMALL, "copy.bin": BIG})
    shelve(library, "me/voice@v2", {"big.bin": BIG, "config.json": b"other"})
    shelve(library, "you/voice", {"other.bin": OTHER})
    told = surveyed(library)
    assert [(one.revisions, one.size, one.own, one.shared, one.missing) for one in told.versions] == [
        (("v1",), 5005, 5, 5000, 0),
        (("v2",), 5005, 5, 5000, 0),
        (("main",), 3000, 3000, 0, 0),
    ]
    assert told.stored == 5000 + 5 + 5 + 3000
    assert told.apart == 5005 + 5005 + 3000


def test_bytes_with_two_digests_are_one_blob(library: Library) -> None:
    shelve(library, "me/one", {"config.json": SMALL})
    library.record(Snapshot(Ref.parse("me/two"), "1" * 40, (file_of("config.json", SMALL, lfs=True),)))
    assert [(one.size, one.own) for one in surveyed(library).versions] == [(5, 0), (5, 0)]
    assert surveyed(library).stored == 5


def test_names_that_are_symlinks_refer_to_the_same_blob(library: Library) -> None:
    shelve(library, "me/one", {"config.json": SMALL})
    first, second = (library.path(file_of("x", SMALL, lfs=lfs).digest) for lfs in (True, False))
    second.unlink()
    second.symlink_to(Path("../..") / first.relative_to(library.root / "blobs"))
    names = blob_numbers(library.root / "blobs")
    assert len(set(names.values())) == 1
    [blob] = inventory(library.root / "blobs")
    assert [name.algorithm for name in blob.names] == ["sha256", "git-sha1"]


def test_files_that_were_not_pulled_are_missing_and_use_no_space(library: Library) -> None:
    keep(library, file_of("config.json", SMALL), SMALL)
    library.record(Snapshot(Ref.parse("me/voice"), "1" * 40, (file_of("config.json", SMALL), file_of("b.bin", BIG))))
    [version] = surveyed(library).versions
    assert (version.size, version.missing) == (5, 5000)


def test_a_pin_is_reported_until_it_is_removed(library: Library) -> None:
    snapshot = shelve(library, "me/voice", {"config.json": SMALL})
    assert snapshot not in library.pins
    library.pins.add(snapshot)
    assert surveyed(library).versions[0].pinned
    assert library.pins.remove(snapshot)
    assert not library.pins.remove(snapshot)
    assert not surveyed(library).versions[0].pinned


def test_an_empty_or_missing_library_has_no_versions(library: Library) -> None:
    assert surveyed(library) == Survey((), 0, 0)
    library.prepare(0)
    assert surveyed(library) == Survey((), 0, 0)
