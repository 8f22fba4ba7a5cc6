"""The demo fails if one of its claims is not true."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_succeeds(capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        print()
        done = subprocess.run(["make", "demo", "ONCE=1"], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
