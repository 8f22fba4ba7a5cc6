"""Installed: a copy from the wheel traces a program, and another user's copy starts it elsewhere without a network."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.installed.copies import install
from tests.smallnet.hosts import hosts
from tests.smallnet.judge import Judge
from tests.smallnet.light_programs import MEMORY
from tests.smallnet.smallnet import SmallNet

_TOOLS = ("ip", "nsenter", "setpriv")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(SmallNet.why_not()), reason=SmallNet.why_not()),
    pytest.mark.skipif(not all(map(shutil.which, _TOOLS)), reason=f"needs {', '.join(_TOOLS)}"),
]
SOMEBODY = 12345


def test_an_installed_copy_traces_a_program_that_starts_elsewhere(distributions: tuple[Path, Path]) -> None:
    # Not below pytest's folder, which other users cannot enter.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="preheat-installed-") as folder:
        place, root = Path(folder), Path(folder) / "www"
        place.chmod(0o755)
        (place / "copy").mkdir()
        copy = install("pip", distributions[1], place / "copy")
        root.mkdir()
        MEMORY.serve(root)
        with SmallNet(place / "net", hosts(root)) as net:
            verdict = Judge(net, place, user=SOMEBODY, preheat=copy.command).judge(MEMORY)
    assert verdict.traced.status == 0, verdict.traced.said
    assert verdict.replays, (verdict.places, verdict.pulled, verdict.replayed)
    assert verdict.refs == ("https://download.example.ai/models/vocoder.bin",)
