"""Verification finds a single flipped bit, and seals reveal changed blobs."""

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.upkeep.inventory import inventory
from preheat.library.upkeep.verification import Finding, quarantine, verify
from tests.library.shelves import file_of, keep, shelve

LARGE = os.urandom(700_001)
SMALL = b"a small file\n"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    shelve(library, "me/voice", {"model.bin": LARGE, "config.json": SMALL, "empty": b""})
    return library


def snapshot_of(library: Library) -> Snapshot:
    return next(iter(library.snapshots()))


def faults(library: Library) -> list[str]:
    found: list[Finding] = []
    verify(list(inventory(library.root / "blobs")), library.path, library.seals, lambda _: None, found.append)
    return [finding.fault for finding in found if finding.fault]


def tampered(path: Path, at: int, bit: int) -> None:
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))
    path.chmod(0o444)


def test_a_new_library_has_no_faults(library: Library) -> None:
    assert faults(library) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, len(LARGE) - 1), bit=st.integers(0, 7))
def test_a_single_flipped_bit_is_found(library: Library, at: int, bit: int) -> None:
    path = library.path(file_of("m", LARGE).digest)
    tampered(path, at, bit)
    assert len(faults(library)) == 1
    tampered(path, at, bit)
    assert faults(library) == []


@pytest.mark.parametrize("size", [0, 1, len(LARGE) - 1, len(LARGE) + 1])
def test_a_blob_of_another_length_is_found(library: Library, size: int) -> None:
    path = library.path(file_of("m", LARGE).digest)
    path.chmod(0o644)
    os.truncate(path, size)
    assert len(faults(library)) == 1


def test_a_blob_under_a_wrong_name_is_found(library: Library) -> None:
    wrong = library.path(file_of("x", b"something else").digest)
    wrong.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(library.path(file_of("c", SMALL).digest), wrong)
    assert len(faults(library)) == 1


def test_all_bytes_are_reported_as_they_are_read(library: Library) -> None:
    read: list[int] = []
    verify(list(inventory(library.root / "blobs")), library.path, library.seals, read.append, lambda _: None)
    assert sum(read) == len(LARGE) + len(SMALL)


def test_an_exception_of_the_listener_ends_it_and_is_raised(library: Library) -> None:
    def complain(_: Finding) -> None:
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        verify(list(inventory(library.root / "blobs")), library.path, library.seals, lambda _: None, complain)
    for thread in [one for one in threading.enumerate() if one.name == "verify"]:
        thread.join(10)
        assert not thread.is_alive()


def test_callbacks_run_in_the_calling_thread(library: Library) -> None:
    callers: list[threading.Thread] = []
    blobs = list(inventory(library.root / "blobs"))

    def note(_: object) -> None:
        callers.append(threading.current_thread())

    verify(blobs, library.path, library.seals, note, note, threads=4)
    assert set(callers) == {threading.current_thread()}


def test_a_quarantined_blob_has_no_name_and_can_be_downloaded_again(library: Library) -> None:
    file = file_of("c", SMALL)
    [blob] = [blob for blob in inventory(library.root / "blobs") if file.digest in blob.names]
    rotten = Finding(blob, "it is", library.path(file.digest).stat().st_ino)
    moved = quarantine(library.root, rotten, library.path)
    assert moved is not None
    assert moved.read_bytes() == SMALL
    assert [lost.path for lost in library.missing(snapshot_of(library))] == ["config.json"]
    assert not any(library.has(name) for name in blob.names)
    keep(library, file, SMALL)
    assert library.missing(snapshot_of(library)) == ()
    # Another process has stored another file under its names meanwhile.
    assert quarantine(library.root, rotten, library.path) is None
    assert library.missing(snapshot_of(library)) == ()


def test_a_blob_removed_meanwhile_is_no_fault(library: Library) -> None:
    blobs = list(inventory(library.root / "blobs"))
    library.path(file_of("m", LARGE).digest).unlink()
    for name in next(blob for blob in blobs if blob.size == len(LARGE)).names:
        library.path(name).unlink(missing_ok=True)
    found: list[Finding] = []
    verify(blobs, library.path, library.seals, lambda _: None, found.append)
    assert [finding.fault for finding in found] == ["", ""]


# ---- seals


def suspects(library: Library) -> list[str]:
    return [file.path for file in library.touched(snapshot_of(library).files)]


def test_new_blobs_and_our_own_links_are_not_suspicious(library: Library, tmp_path: Path) -> None:
    assert suspects(library) == []
    with library.linking(snapshot_of(library).files):
        os.link(library.path(file_of("m", LARGE).digest), tmp_path / "view.bin")
    assert suspects(library) == []


def test_a_link_by_another_program_is_suspicious_until_the_file_is_hashed(library: Library, tmp_path: Path) -> None:
    os.link(library.path(file_of("m", LARGE).digest), tmp_path / "other.bin")
    assert suspects(library) == ["model.bin"]
    assert faults(library) == []
    assert suspects(library) == []


def test_a_change_before_a_link_is_not_sealed_by_it(library: Library, tmp_path: Path) -> None:
    path = library.path(file_of("m", LARGE).digest)
    before = path.stat()
    tampered(path, 5, 1)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with library.linking(snapshot_of(library).files):
        os.link(path, tmp_path / "view.bin")
    assert suspects(library) == ["model.bin"]


def test_another_file_under_a_blobs_name_is_noticed(library: Library, tmp_path: Path) -> None:
    path = library.path(file_of("m", LARGE).digest)
    (tmp_path / "evil").write_bytes(b"EVIL" + path.read_bytes()[4:])
    (tmp_path / "evil").rename(path)
    assert suspects(library) == ["model.bin"]
    assert library.sound_size(file_of("m", LARGE)) is None
    assert not library.has(file_of("m", LARGE).digest)
    assert [one.name for one in (library.root / "quarantine").iterdir()] == [path.parent.parent.name + "-" + path.name]


def test_the_same_bytes_in_another_file_are_sealed_again(library: Library, tmp_path: Path) -> None:
    path = library.path(file_of("m", LARGE).digest)
    (tmp_path / "same").write_bytes(path.read_bytes())
    (tmp_path / "same").rename(path)
    assert suspects(library) == ["model.bin"]
    assert library.sound_size(file_of("m", LARGE)) == len(LARGE)
    assert suspects(library) == []


def test_a_blob_without_a_seal_is_hashed_once(library: Library) -> None:
    shutil.rmtree(library.root / "seals")
    again = Library(library.root)
    assert suspects(again) == [file.path for file in snapshot_of(again).files]
    assert all(again.sound_size(file) == file.size for file in snapshot_of(again).files)
    assert suspects(Library(library.root)) == []


def test_many_threads_that_check_a_touched_blob_hash_it_once(library: Library) -> None:
    path = library.path(file_of("m", LARGE).digest)
    path.touch()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(library.sound_size, [file_of("m", LARGE)] * 32)) == [len(LARGE)] * 32
    tampered(path, 5, 1)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(library.sound_size, [file_of("m", LARGE)] * 32)) == [None] * 32


def test_a_write_is_noticed_even_if_its_mtime_is_set_back(library: Library) -> None:
    path = library.path(file_of("m", LARGE).digest)
    before = path.stat()
    tampered(path, 5, 1)
    assert suspects(library) == ["model.bin"]
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert suspects(library) == ["model.bin"]


def test_hashing_clears_a_false_suspicion(library: Library) -> None:
    path = library.path(file_of("m", LARGE).digest)
    path.touch()
    assert suspects(library) == ["model.bin"]
    assert faults(library) == []
    assert suspects(library) == []


def test_a_copy_of_a_library_is_hashed_once(library: Library, tmp_path: Path) -> None:
    shutil.copytree(library.root, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = Library(tmp_path / "copy")
    assert faults(copy) == []
    assert suspects(copy) == []
    os.truncate(copy.path(file_of("m", LARGE).digest), 10)
    assert suspects(copy) == ["model.bin"]


def test_many_logs_are_merged_and_keep_the_present_blobs(library: Library) -> None:
    for number in range(70):  # as many machines would
        one = Library(library.root)
        one.seals.note(file_of("m", LARGE).digest, library.path(file_of("m", LARGE).digest))
        for log in (library.root / "seals").glob("*-*.log"):
            log.rename(log.with_name(f"{number}.log"))
    before = library.seals.read()
    last = Library(library.root).seals
    last.tidy({str(file_of("m", LARGE).digest)})
    assert len(list((library.root / "seals").iterdir())) == 1
    assert last.read() == {name: seal for name, seal in before.items() if name == str(file_of("m", LARGE).digest)}


def test_merged_logs_keep_the_seal_of_the_right_clock(library: Library) -> None:
    large = file_of("m", LARGE).digest
    right = library.seals.read()[str(large)]
    [log] = (library.root / "seals").glob("*-*.log")
    future = f"{large} {right.size} 1 1 1 1 {right.at + 600_000_000}\n"
    for number in range(70):
        (log.parent / f"{number}.log").write_text(f"preheat-seals 1\n{future}")
    last = Library(library.root).seals
    last.tidy({str(large)})
    assert last.read() == {str(large): right}


def test_invalid_seal_lines_are_ignored(library: Library) -> None:
    (library.root / "seals/rubbish.log").write_bytes(b"preheat-seals 1\nsha256:00 1 2 3\nx\n\xff\xff 1 2 3 4 5 6\ncut")
    (library.root / "seals/other.log").write_text("something else\n")
    (library.root / "seals/empty.log").touch()
    assert suspects(library) == []
