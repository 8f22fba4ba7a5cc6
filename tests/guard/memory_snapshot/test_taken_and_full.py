"""PIDs that other processes have, and a disk that fills up while memory is saved."""

import subprocess
from pathlib import Path

import pytest

from tests.guard.apps import runs, until
from tests.guard.memory_snapshot.frozen import CRIU, Frozen, needs_criu

pytestmark = [needs_criu, pytest.mark.slow]

# Writes its PID, as it sees it, and when it was started, over and over.
TICKS = """
import os, sys, time
started = time.time_ns()
while True:
    with open(sys.argv[3] + "/ticks", "a") as file:
        file.write(f"{os.getpid()} {started}\\n")
    time.sleep(0.02)
"""


def test_one_snapshot_is_restored_twice_at_once_with_the_same_pids(tmp_path: Path) -> None:
    frozen = Frozen(tmp_path, TICKS)
    ticks = frozen.watched / "ticks"
    frozen.ready = f"exec:test -s {ticks}"
    with frozen.start() as app:
        assert app.was_told("memory snapshot made"), app.notices()
    before = ticks.read_text().splitlines()[-1]
    with frozen.start() as one, frozen.start() as other:
        for app in (one, other):
            assert app.was_told("restored from memory"), app.notices()
        ticks.write_text("")
        assert until(lambda: len(ticks.read_text().splitlines()) > 10, 10)
        pids = [*one.pids(), *other.pids()]
        assert len(set(pids)) == 2
        assert all(runs(pid) for pid in pids)
    assert set(ticks.read_text().splitlines()[:-1]) == {before}, (
        "each has the PID that it had, in a namespace of its own"
    )


def test_a_disk_that_fills_up_while_memory_is_saved_leaves_nothing(tmp_path: Path) -> None:
    frozen = Frozen(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    filling = tmp_path / "filling-criu"
    filling.write_text(
        f'#!/bin/sh\n[ "$1" = dump ] && dd if=/dev/zero of={small}/other bs=1M 2>/dev/null\nexec {frozen.criu} "$@"\n'
    )
    filling.chmod(0o755)
    frozen.criu = str(filling)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "none", str(small)], check=True)
    try:
        frozen.snapshots = small / "app"
        with frozen.start() as app:
            assert app.was_told("no memory snapshot: "), app.notices()
            assert not any("MiB free" in words for words in app.notices()), "there was room when it began"
            assert app.ask()["ticks"]
        assert frozen.kept() == []
        (small / "other").unlink()
        frozen.criu = CRIU
        with frozen.start() as app:
            assert app.was_told("memory snapshot made"), app.notices()
    finally:
        subprocess.run(["umount", str(small)], check=True)
