"""The guard in a Python 3.8 that has nothing but its standard library."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.guard.apps import SRC

STORY = """
import pkgutil, sys
import preheat.guard
for module in pkgutil.walk_packages(preheat.guard.__path__, "preheat.guard."):
    __import__(module.name)
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy as Patience
from preheat.guard.kernel.peak_memory import Peak
from preheat.guard.witness.connections import Witness
from preheat.guard.probes.probes import parse_probe, port_of
from preheat.guard.supervise.supervisor import AppStarted as Started, supervise
from preheat.guard.model.tail import Tail

peaks = []
def listen(event):
    if isinstance(event, Started):
        peaks.append(Peak(event.pid))

can = Witness.available()
witness = Witness()
code = "import socket, time; socket.socket().connect_ex(('127.0.0.1', 9)); print('up'); time.sleep(.3); 1 / 0"
app = App((sys.executable, "-u", "-c", code), ready="line:up")
patience = Patience(max_restarts=1, backoff_s=0.01)
outcome = supervise(app, patience, listen, witness=witness if can else None)
assert outcome.fatal and outcome.status == 1 and outcome.starts == 2 and outcome.tail[0] == "up", outcome
assert not can or witness.outbound == 2, witness.attempts
assert all(peak.close() > 1000000 for peak in peaks)
assert not parse_probe("https://127.0.0.1:9/", Tail()).ready()
assert port_of("tcp:9") == 9
print(sys.version_info[:2], "done")
"""


def old_python() -> str | None:
    places = [shutil.which("python3.8"), *sorted(map(str, Path.home().glob(".pyenv/versions/3.8*/bin/python")))]
    for place in places:
        # A version manager's shim may be in PATH without an interpreter.
        if place and subprocess.run([place, "-c", "import ctypes"], capture_output=True, check=False).returncode == 0:
            return place
    return None


def test_python_3_8_runs_all_of_it() -> None:
    python = old_python()
    if python is None:
        pytest.skip("there is no Python 3.8")
    done = subprocess.run(
        [python, "-S", "-W", "error", "-c", STORY], env={"PYTHONPATH": SRC}, capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("(3, 8) done\n"), done.stderr
