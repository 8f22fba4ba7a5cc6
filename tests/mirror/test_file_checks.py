"""Scans of a mirror's files: each file once, a few at a time, and no client waits only for another client's."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from preheat.core.digest import git_sha1
from preheat.core.errors import CheckFailed, LibraryError, MirrorBusy
from preheat.core.snapshot import File
from preheat.mirror import file_checks
from preheat.mirror.file_checks import ChecksBehind, FairSlots, FileChecks
from tests.guard.apps import until


def a_file(name: str) -> File:
    return File(name, 5, git_sha1("a" * 40))


class SlowScan:
    """A scan that ends when it is told to; it refuses files called `evil`."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = threading.Event()

    def __call__(self, file: File) -> None:
        self.begun.append(file.path)
        assert self.may_end.wait(30)
        if file.path.startswith("evil"):
            raise CheckFailed(f"{file.path} is refused", hint="h")


@contextmanager
def asking(checks: Callable[[File, str], None], *requests: tuple[str, str]) -> Iterator[list[str]]:
    """Request a check of each (file, client), each in a thread; collect the results."""
    results: list[str] = []

    def one(name: str, client: str) -> None:
        try:
            checks(a_file(name), client)
            results.append(f"{name} is served")
        except (CheckFailed, MirrorBusy) as error:
            results.append(error.message)

    with ThreadPoolExecutor(max(len(requests), 1)) as pool:
        for name, client in requests:
            pool.submit(one, name, client)
        yield results


@pytest.mark.parametrize(("name", "result"), [("evil", "evil is refused"), ("good", "good is served")])
def test_requests_for_a_file_share_one_scan(name: str, result: str) -> None:
    scan = SlowScan()
    checks = FileChecks(scan)
    with asking(checks, *((name, f"client {number}") for number in range(20))) as results:
        assert until(lambda: scan.begun == [name], 10)
        scan.may_end.set()
    assert results == [result] * 20
    with asking(checks, (name, "later")) as results:
        pass
    assert results == [result]
    assert scan.begun == [name]


def test_few_scans_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "MOST_AT_ONCE", 4)
    scan = SlowScan()
    with asking(FileChecks(scan), *((f"file {number}", f"client {number}") for number in range(12))) as results:
        assert until(lambda: len(scan.begun) == 4, 10)
        assert not until(lambda: len(scan.begun) > 4, 0.3)
        scan.may_end.set()
    assert len(results) == len(scan.begun) == 12


def test_one_client_leaves_half_of_the_slots_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "MOST_AT_ONCE", 4)
    scan = SlowScan()
    checks = FileChecks(scan)
    with asking(checks, *((f"greedy {number}", "greedy") for number in range(12))):
        assert until(lambda: len(scan.begun) == 2, 10)
        with asking(checks, ("honest", "another")):
            assert until(lambda: "honest" in scan.begun, 10)
            assert len(scan.begun) == 3
            scan.may_end.set()


def test_the_client_that_holds_fewest_slots_is_next() -> None:
    slots, order = FairSlots(1), list[str]()

    def take(client: str) -> None:
        with slots.slot(client, 30):
            order.append(client)

    with ThreadPoolExecutor(4) as pool:
        with slots.slot("greedy", 30):
            first = pool.submit(take, "greedy")
            assert until(lambda: len(slots._waiting) == 1, 10)
            second = pool.submit(take, "honest")
            assert until(lambda: len(slots._waiting) == 2, 10)
        first.result(30)
        second.result(30)
    assert sorted(order) == ["greedy", "honest"]


def test_a_request_that_waits_too_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "_WAIT_S", 0.1)
    monkeypatch.setattr(file_checks, "MOST_AT_ONCE", 1)
    scan = SlowScan()
    checks = FileChecks(scan)
    with asking(checks, ("slow", "a")):
        assert until(lambda: bool(scan.begun), 10)
        with asking(checks, ("slow", "b"), ("other", "b")) as results:
            pass
        scan.may_end.set()
    assert sorted(results) == ["slow is still being scanned", "this mirror is scanning other files"]


def test_without_refusal_no_request_waits_for_a_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "_MOST_QUEUED", 5)
    scan, skipped = SlowScan(), list[str]()
    behind = ChecksBehind(scan, lambda file, why: skipped.append(f"{file.path}: {why}"))
    behind(a_file("first"), "client")
    assert until(lambda: scan.begun == ["first"], 10)
    for number in range(7):
        behind(a_file(f"file {number}"), "client")
        behind(a_file(f"file {number}"), "another")
    assert set(skipped) == {f"file {number}: 5 files are waiting for the scanner" for number in (5, 6)}
    scan.may_end.set()
    assert until(lambda: len(scan.begun) == 6, 10)
    assert until(lambda: not behind._is_running, 10)
    behind(a_file("later"), "client")
    assert until(lambda: "later" in scan.begun, 10)


def test_a_scan_that_fails_is_reported_and_the_next_one_runs() -> None:
    skipped: list[str] = []

    def scan(file: File) -> None:
        if file.path == "b":
            raise OSError(24, "Too many open files")
        raise LibraryError(f"{file.path}: the disk failed")

    behind = ChecksBehind(scan, lambda _file, why: skipped.append(why))
    behind(a_file("a"), "client")
    behind(a_file("b"), "client")
    behind(a_file("c"), "client")
    assert until(lambda: len(skipped) == 3, 10)
    assert skipped == ["a: the disk failed", "[Errno 24] Too many open files", "c: the disk failed"]


def test_a_mirror_that_stops_waits_for_the_scans_and_skips_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_checks, "_LAST_S", 0.2)
    scan, skipped = SlowScan(), list[str]()
    behind = ChecksBehind(scan, lambda file, why: skipped.append(f"{file.path}: {why}"))
    behind(a_file("first"), "client")
    assert until(lambda: scan.begun == ["first"], 10)
    behind(a_file("second"), "client")
    behind.stop()
    assert skipped == ["second: the mirror stopped first"]
    scan.may_end.set()
