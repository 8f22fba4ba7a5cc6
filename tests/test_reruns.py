"""Reruns: those of a whole run are listed by name, with why, and more than two fail it."""

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
        pytest.fail("the first time\\n\\nit said")
"""
LEFT_OPEN = """
import pathlib, socket

def test_open():
    before = pathlib.Path(__file__).with_name("ran")
    if not before.exists():
        before.touch()
        socket.socket()
"""


def run(folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """Run these tests in `folder`, in two processes as CI does; the list is beside it."""
    folder.mkdir()
    (folder / "test_flaky.py").write_text(text)
    words = ["-p", "tests.reruns", "--reruns", "1", "--list-reruns=../reruns", "-c", "/dev/null", "--rootdir", "."]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "-W", "error", *words, "-p", "no:cacheprovider", "."],
        cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_two_reruns_are_listed_with_why_and_a_third_one_fails_the_run(tmp_path: Path) -> None:
    none = run(tmp_path / "none", FLAKY.format(number=0))
    assert "tried again" not in none.stdout
    fast = run(tmp_path / "fast", FLAKY.format(number=2))
    assert fast.returncode == 0, fast.stdout + fast.stderr
    assert "tests that were tried again" in fast.stdout
    reason = "call: test_flaky.py:9: Failed: the first time … it said"
    for number in (0, 1):
        assert f"\ntest_flaky.py::test_flaky[{number}]\n    {reason}\n" in fast.stdout
        assert f"test_flaky.py::test_flaky[{number}]\t{reason}\n" in (tmp_path / "reruns").read_text()
    slow = run(tmp_path / "slow", LEFT_OPEN)
    assert slow.returncode == 1
    assert "more than 2: the run fails" in slow.stdout
    assert slow.stdout.splitlines()[-1].strip("= ").startswith("1 passed, 1 rerun in ")
    told = (tmp_path / "reruns").read_text().splitlines()[-1]
    assert told.startswith("test_flaky.py::test_open\tcall: ")
    assert "Exception ignored in: <socket" in told
    assert told.rpartition(" … ")[2].startswith("test_flaky.py:"), told
    assert "ResourceWarning: unclosed <socket" in told
