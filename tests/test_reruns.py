"""Reruns: those of a whole run are listed by name, and more than two fail it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAKY = """
import pathlib, pytest

@pytest.mark.parametrize("number", range({number}))
def test_flaky(number, request):
    before = pathlib.Path(__file__).with_name(f"ran-{{number}}")
    if not before.exists():
        before.touch()
        pytest.fail("the first time")
"""


def run(folder: Path, number: int) -> "subprocess.CompletedProcess[str]":
    """Run that many tests in `folder` that fail once each, in two processes as CI does; the list is beside it."""
    folder.mkdir()
    (folder / "test_flaky.py").write_text(FLAKY.format(number=number))
    words = ["-p", "tests.reruns", "--reruns", "1", "--list-reruns=../reruns", "-c", "/dev/null", "--rootdir", "."]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", *words, "-p", "no:cacheprovider", "."],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_two_reruns_are_listed_and_a_third_one_fails_the_run(tmp_path: Path) -> None:
    quiet = run(tmp_path / "none", 0)
    assert "tried again" not in quiet.stdout
    fast = run(tmp_path / "fast", 2)
    assert fast.returncode == 0, fast.stdout + fast.stderr
    assert "tests that were tried again" in fast.stdout
    assert all(f"\ntest_flaky.py::test_flaky[{number}]\n" in fast.stdout for number in (0, 1))
    slow = run(tmp_path / "slow", 1)
    assert slow.returncode == 1
    assert "more than 2: the run fails" in slow.stdout
    assert slow.stdout.splitlines()[-1].strip("= ").startswith("1 passed, 1 rerun in ")
