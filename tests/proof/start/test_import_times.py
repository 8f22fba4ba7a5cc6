"""Import times: logs of the stopwatch, also from a real Python."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import Digest
from preheat.core.events import Received, Stored
from preheat.core.pulls.planned_pull import Resolved
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.proof.start.import_times import outermost_names, read_notes, sum_up
from preheat.proof.start.pull_times import PullClock
from preheat.verbs.run import stopwatch

APP = """
import sys, os
sys.path.insert(0, {folder!r})
import slow.part
import json.tool
from slow import part
try:
    import no_such_module
except ImportError:
    pass
if {forks}:
    child = os.fork()
    if child == 0:
        import csv
        os._exit(0)
    os.waitpid(child, 0)
"""


def measured(folder: Path, *, forks: bool = False, **environ: str) -> tuple[Path, int]:
    """Run a Python that imports a slow package; return the log folder and the start time."""
    (folder / "slow").mkdir(exist_ok=True)
    (folder / "slow" / "__init__.py").write_text("import time; time.sleep(0.05)")
    (folder / "slow" / "part.py").write_text("import time; time.sleep(0.1)")
    (folder / "app.py").write_text(APP.format(folder=str(folder), forks=forks))
    notes = folder / "notes"
    notes.mkdir(exist_ok=True)
    began = time.monotonic_ns()
    env = {"PATH": os.environ["PATH"], **environ}
    subprocess.run([sys.executable, folder / "app.py"], check=True, env={**env, **stopwatch(env, notes)})
    return notes, began


def test_the_slowest_package_and_the_interpreters_start_are_found(tmp_path: Path) -> None:
    notes, began = measured(tmp_path)
    imports = sum_up(read_notes(notes), began, ready_s=60)
    assert imports is not None
    assert 0 < imports.interpreter_s < 5
    slowest = imports.slowest[0]
    assert (slowest.name, slowest.modules) == ("slow", 2)
    assert 0.15 <= slowest.seconds < 1
    assert imports.seconds >= 0.15
    python, names = outermost_names(read_notes(notes), began, ready_s=60)
    assert Path(python).name.startswith("python")
    assert [name for name in names if name in ("slow.part", "json.tool", "slow")] == ["slow.part", "json.tool"]


def test_a_forked_child_has_its_own_log(tmp_path: Path) -> None:
    notes, began = measured(tmp_path, forks=True)
    processes = read_notes(notes)
    assert len(processes) == 2
    imports = sum_up(processes, began, ready_s=60)
    assert imports is not None
    assert imports.slowest[0].name == "slow"


def test_an_own_sitecustomize_still_runs_and_nothing_is_logged_unless_requested(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    measured(tmp_path, PYTHONPATH=str(tmp_path / "mine"))
    assert (tmp_path / "ran").exists()


def test_a_truncated_log_loses_one_line(tmp_path: Path) -> None:
    (tmp_path / "1.imports").write_text("# 100\t/usr/bin/python3\njson\t0\t200\t300\t100\ntor")
    (tmp_path / "2.imports").write_text("")
    (tmp_path / "3.imports").write_bytes(b"\xff\xfe\n")
    [notes] = read_notes(tmp_path)
    assert [note.name for note in notes.imports] == ["json"]
    assert sum_up([], 0, 1.0) is None
    assert outermost_names([], 0, 1.0) == ("", ())


@given(st.lists(st.sampled_from(["resolve", "receive", "store", "end"]), max_size=30), st.floats(0.001, 1))
def test_the_stages_of_a_pull_add_up_to_its_time(events: list[str], step: float) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += step
        return now

    ref, file = (
        Ref.parse("hf:acme/tiny"),
        File("a", 1, Digest("sha256", "0" * 64)),
    )
    watch = PullClock(lambda event: None, clock)
    for event in [*events, "end"]:
        if event == "resolve":
            watch(Resolved(ref, "c", 1, 1, 1, 1))
        elif event == "receive":
            watch(Received(file, 1))
        elif event == "store":
            watch(Stored(file))
        else:
            watch.ended()
    assert watch.pulled(1.0).seconds == pytest.approx(now - step + 1.0)
