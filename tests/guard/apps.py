"""Small real apps to start, and a guard in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from preheat.guard.model.app import App
from preheat.guard.process.process import Output

SILENT = Output(stdout=None, stderr=None)
SRC = str(Path(__file__).parents[2] / "src")

# Supervises the command in its arguments; prints events to stderr, exits with the outcome's status.
GUARD = """
import sys
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy as Patience
from preheat.guard.process.process import Output
from preheat.guard.supervise.supervisor import supervise

def tell(event):
    print(event, file=sys.stderr, flush=True)

patience = Patience(stop_within_s=2, max_restarts=1, backoff_s=0.05)
outcome = supervise(App(tuple(sys.argv[2:]), ready=sys.argv[1]), patience, tell)
tell(outcome)
sys.exit(outcome.status)
"""


def python(code: str, *, ready: str = "", env: Mapping[str, str] | None = None, cwd: str | None = None) -> App:
    """An app that runs `code`, unbuffered and without the site's packages."""
    return App((sys.executable, "-I", "-S", "-u", "-c", code), env=env, cwd=cwd, ready=ready)


def guarding(app: App) -> "subprocess.Popen[bytes]":
    """Start a guard that supervises `app`."""
    return subprocess.Popen(
        [sys.executable, "-c", GUARD, app.ready, *app.command],
        env={**os.environ, "PYTHONPATH": SRC},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(happens: Callable[[], object], within_s: float = 10.0) -> bool:
    """Wait until a condition is true; return whether it became true."""
    deadline = time.monotonic() + within_s
    while not happens():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def runs(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
