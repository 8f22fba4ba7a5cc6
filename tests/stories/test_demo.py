"""The demo keeps its promises: it ends with another status than 0 when one is broken."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_keeps_what_it_promises(capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled():
        print()
        done = subprocess.run(["make", "demo", "ONCE=1"], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
