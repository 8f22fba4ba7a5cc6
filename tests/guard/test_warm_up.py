"""Warm-up: the files that it reads and skips, and when it stops."""

import ctypes
import mmap
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from preheat.guard.model.life import Life
from preheat.guard.process.process import Output
from preheat.guard.status.app_status import AppStatus
from preheat.guard.status.start_progress import Progress, Step, progress
from preheat.guard.supervise.instance import Instance
from preheat.guard.warm_up.warm_up import WarmUp
from preheat.guard.warm_up.warmed_file import FileRange, read_ranges
from tests.guard.apps import python, until
from tests.guard.zipped import guard, start

PLENTY = 1 << 40
PAGE = mmap.PAGESIZE


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    """A file of 32 MB, on disk and not in the page cache."""
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(1 << 20) * 32)
    drop(path)
    if cached(path) > path.stat().st_size // PAGE // 2:
        pytest.skip("this file system keeps its files in memory")
    return path


def drop(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cached(path: Path) -> int:
    """Count a file's pages in the page cache: mincore(2), which unlike a read loads none."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE) as mapped:
        here = ctypes.c_char.from_buffer(mapped)
        pages = (ctypes.c_ubyte * -(-size // PAGE))()
        result = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(here)), ctypes.c_size_t(size), pages)
        del here
    assert result == 0
    return sum(page & 1 for page in pages)


def is_in_memory(path: Path) -> bool:
    """Return whether nearly all of a file is cached: the kernel may evict single clean pages at any time."""
    return cached(path) > path.stat().st_size // PAGE * 9 // 10


def test_every_listed_file_is_cached_afterwards(cold: Path) -> None:
    warm = WarmUp([FileRange(str(cold))], lambda: PLENTY)
    assert warm.wait(30)
    assert is_in_memory(cold)
    assert (warm.read + warm.found, warm.why) == (cold.stat().st_size, "")


def test_a_cached_file_is_not_read_again(cold: Path) -> None:
    cold.read_bytes()
    warm = WarmUp([FileRange(str(cold))], lambda: PLENTY)
    assert warm.wait(30)
    assert warm.read + warm.found == cold.stat().st_size
    # At most one of the eight chunks, in which the kernel has just evicted a page.
    assert warm.read <= cold.stat().st_size // 8


def test_only_the_listed_range_is_read(cold: Path) -> None:
    warm = WarmUp([FileRange(str(cold), 8 << 20, 12 << 20)], lambda: PLENTY)
    assert warm.wait(30)
    assert warm.read + warm.found == 4 << 20


def test_it_never_uses_memory_that_others_need(cold: Path) -> None:
    warm = WarmUp([FileRange(str(cold))], lambda: 64 << 20)
    assert warm.wait(30)
    assert (warm.read, warm.why) == (0, "not enough free memory")


def test_it_stops_when_memory_runs_short(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(b"x" * (160 << 20))
    drop(path)
    if cached(path) > path.stat().st_size // PAGE // 2:
        pytest.skip("this file system keeps its files in memory")
    room = iter([PLENTY])
    warm = WarmUp([FileRange(str(path))], lambda: next(room, 0))
    assert warm.wait(30)
    assert 0 < warm.read < 160 << 20
    assert warm.why


def test_a_list_with_missing_files_is_accepted(cold: Path, tmp_path: Path) -> None:
    gone, empty = str(tmp_path / "gone"), tmp_path / "empty"
    empty.touch()
    warm = WarmUp(
        [FileRange(gone), FileRange(str(tmp_path)), FileRange(str(empty)), FileRange(str(cold), 1 << 40)],
        lambda: PLENTY,
    )
    assert warm.wait(30)
    assert warm.why == ""


def test_a_list_is_parsed_with_and_without_ranges() -> None:
    lines = ["# order of the last start\n", "/a b\n", "\n", "/c\t4096\t8192\n"]
    assert read_ranges(lines) == [FileRange("/a b"), FileRange("/c", 4096, 8192)]


def test_a_real_list_of_many_files_is_read_in_its_order(tmp_path: Path) -> None:
    if shutil.which("find") is None:
        pytest.skip("no find")
    found = subprocess.run(["find", Path(os.__file__).parent, "-name", "*.py"], capture_output=True, check=True)
    ranges = read_ranges(found.stdout.decode().splitlines())[:500]
    warm = WarmUp(ranges, lambda: PLENTY)
    assert warm.wait(60)
    assert warm.read + warm.found == sum(Path(one.path).stat().st_size for one in ranges)


def test_the_guard_warms_the_listed_files_while_the_app_starts_and_reports_it(cold: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"{cold}\n")
    # It loads until the file exists, however slow the disk is.
    loaded = tmp_path / "loaded"
    code = f"import os, time\nwhile not os.path.exists({str(loaded)!r}): time.sleep(0.01)\nprint('up'); time.sleep(1)"
    app = [sys.executable, "-I", "-S", "-u", "-c", code]
    with start("--warm", str(tmp_path / "list"), "--ready", "line:up", "--", *app) as guard:
        try:
            assert until(lambda: is_in_memory(cold), 60)
        finally:
            loaded.touch()
            said = guard.communicate()[1].decode()
    assert re.search(r"guard: warm-up: \d+ MB read from disk", said)


def test_an_app_that_is_ready_first_stops_the_warm_up_which_is_reported(tmp_path: Path) -> None:
    long = tmp_path / "long"
    long.touch()
    os.truncate(long, 1 << 40)  # a hole, which takes minutes to read
    (tmp_path / "list").write_text(f"{long}\n")
    app = [sys.executable, "-I", "-S", "-u", "-c", "import time; print('up'); time.sleep(1)"]
    done = guard("--warm", str(tmp_path / "list"), "--ready", "line:up", "--", *app)
    assert re.search(r"guard: warm-up: \d+ MB .*; stopped early: the app is ready", done.stderr)


def test_progress_is_the_fraction_of_the_known_bytes_before_the_current_file() -> None:
    order = (Step("/lib.so", 10), Step("/w/model", 80), Step("/w/voice", 10))
    assert progress(order, 0, 1.0, ()) == Progress("importing", 0, None)
    assert progress(order, 2, 1.0, (9.0, 3.0, 5.0)) == Progress("loading model", 10, 4.0)
    assert progress(order, 3, 9.0, (9.0, 3.0, 5.0)) == Progress("loading voice", 90, 0.0)
    assert progress((), 0, 1.0, ()) == Progress("starting", None, None)


def test_progress_follows_the_files_that_the_app_opens_and_never_decreases(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one", "two", "three")]
    for file in files:
        file.write_bytes(b"x" * 8192)
    code = """
import mmap, sys, time
held = open("two", "rb"); mapped = mmap.mmap(held.fileno(), 0, prot=mmap.PROT_READ); held.close()
print("mapped"); sys.stdin.readline() if False else time.sleep(0.6)
mapped.close(); print("closed"); time.sleep(60)
"""
    app = python(code, cwd=str(tmp_path))
    instance = Instance(app, None, output=Output(None, None), witness=None, ring=lambda: None)
    app_status = AppStatus("x", paths=[str(file) for file in (*files, tmp_path / "gone")])
    app_status.life = Life("starting")
    app_status.began(instance.process.pid, instance.began)
    try:
        assert until(lambda: app_status.progress() == Progress("loading two", 33))
        assert until(lambda: "closed" in instance.tail())
        assert app_status.progress() == Progress("loading two", 33)
    finally:
        instance.end(1, lambda: False)
