"""Scratch folder: it exists while its process lives; after a kill, the next process removes it."""

import subprocess
import sys
import threading
from pathlib import Path

from preheat.disk.temporary_file import TRACE
from preheat.proof.conditions.scratch_folder import fresh, sweep


def test_the_folder_is_removed_afterwards(tmp_path: Path) -> None:
    with fresh(tmp_path) as folder:
        (folder / "library").mkdir()
        sweep(tmp_path)
        assert (folder / "library").is_dir(), "a sweep beside it leaves it alone"
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next_one(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from preheat.proof.conditions.scratch_folder import TRACE, fresh
with fresh(Path({str(tmp_path)!r}), TRACE) as folder:
    print(folder, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.name.startswith(TRACE)
        sweep(tmp_path)
        there = folder.is_dir()
        process.kill()
    assert there, "its process is alive"
    sweep(tmp_path)
    assert not folder.exists()


def test_a_sweep_never_removes_a_folder_that_is_being_created(tmp_path: Path) -> None:
    done = threading.Event()

    def sweeps() -> None:
        while not done.is_set():
            sweep(tmp_path)

    sweeper = threading.Thread(target=sweeps)
    sweeper.start()
    try:
        for _ in range(300):
            with fresh(tmp_path) as folder:
                (folder / "weights").touch()
                assert (folder / "weights").is_file()
    finally:
        done.set()
        sweeper.join()
