"""A file that one thread closes stays open, under its number, for the threads that use it."""

import os
import threading
from pathlib import Path

import pytest

from preheat.core.errors import Busy
from preheat.library.blobs.journal import Journal
from preheat.library.blobs.ranges import ByteRange
from preheat.library.blobs.shared_descriptor import Closed, SharedDescriptor
from preheat.library.library import Library
from tests.library.shelves import file_of

DATA = os.urandom(3 << 20)
FILE = file_of("model.bin", DATA)


def opened(path: Path) -> SharedDescriptor:
    return SharedDescriptor(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def test_closing_waits_for_the_last_user_and_rejects_new_ones(tmp_path: Path) -> None:
    descriptor = opened(tmp_path / "one")
    with descriptor as number:
        with descriptor as same:
            descriptor.close()
            assert same == number
        inode = os.fstat(number).st_ino
        assert inode == (tmp_path / "one").stat().st_ino
        with pytest.raises(Closed), descriptor:
            pass
    assert not is_open(number)
    descriptor.close()


def test_no_number_refers_to_another_file_while_threads_open_and_close(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(4)]
    current = [opened(path) for path in paths]
    inodes = [path.stat().st_ino for path in paths]
    wrong: list[int] = []
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            for at, descriptor in enumerate(current):
                try:
                    with descriptor as number:
                        wrong.extend(number for _ in range(5) if os.fstat(number).st_ino != inodes[at])
                except Closed:
                    pass

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for turn in range(1500):
        at = turn % len(paths)
        before, current[at] = current[at], opened(paths[at])
        before.close()
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_partial_closed_while_in_use_keeps_its_lock_until_then(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    library.prepare(0)
    partial = library.begin(FILE)
    assert partial is not None
    partial.write(0, memoryview(DATA))
    with partial.held():
        partial.close()
        with pytest.raises(Busy):
            library.begin(FILE)
    again = library.begin(FILE)
    assert again is not None
    assert again.gaps == []
    again.close()


def test_a_closed_partial_changes_nothing_any_more(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    library.prepare(0)
    first = library.begin(FILE)
    assert first is not None
    first.write(0, memoryview(DATA)[: 1 << 20])
    first.close()
    second = library.begin(FILE)
    assert second is not None
    first.write(1 << 20, memoryview(DATA)[1 << 20 :])
    first.sync()
    first.follow()
    first.discard()
    with pytest.raises(Busy):
        first.seal()
    assert second.gaps == [ByteRange(1 << 20, 3 << 20)]
    second.write(1 << 20, memoryview(DATA)[1 << 20 :])
    library.keep(second)
    assert library.path(FILE.digest).read_bytes() == DATA


def test_a_partial_closed_while_being_kept_still_gets_its_name_and_leaves_no_file(tmp_path: Path) -> None:
    library = Library(tmp_path / "library")
    library.prepare(0)
    partial = library.begin(FILE)
    assert partial is not None
    partial.write(0, memoryview(DATA))
    with partial.held():
        partial.seal()
        partial.close()
        path = library.path(FILE.digest)
        path.parent.mkdir(parents=True)
        partial.publish(str(path))
    assert path.read_bytes() == DATA
    assert [one.name for one in (library.root / "partial").rglob("*") if one.is_file()] == []


def test_a_removed_journal_is_not_started_again(tmp_path: Path) -> None:
    journal = Journal.read(tmp_path / "x.journal", 100, "boot")
    journal.remove()
    journal.wrote(ByteRange(0, 10))
    journal.only([ByteRange(0, 10)])
    journal.flush()
    assert list(tmp_path.iterdir()) == []


def test_a_rewritten_journal_keeps_the_entry_of_a_concurrent_thread(tmp_path: Path) -> None:
    journal = Journal.read(tmp_path / "x.journal", 1 << 30, "boot")
    failed: list[OSError] = []

    def write(at: int) -> None:
        try:
            for number in range(300):
                journal.wrote(ByteRange(at + number, at + number + 1))
        except OSError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(at,)) for at in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        journal.only(journal.ranges)
        with open(tmp_path / "innocent", "wb"):
            pass
    for thread in threads:
        thread.join()
    assert failed == []
    assert (tmp_path / "innocent").read_bytes() == b""
