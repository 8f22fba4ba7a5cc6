"""The guard as a zip, for tests that run it as others would."""

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from preheat.deploy.guard_zip import write_guard_zip


@cache
def guard_zip() -> str:
    """Write it once per session."""
    path = Path(tempfile.mkdtemp(prefix="guard-zip-")) / "guard.pyz"
    write_guard_zip(path)
    return str(path)


def start(*words: str, python: str = sys.executable, env: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
    """Start a guard from the zip, in its own session."""
    return subprocess.Popen(
        [python, guard_zip(), *words],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def guard(*words: str, python: str = sys.executable, cwd: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a guard until it ends."""
    done = subprocess.run(
        [python, guard_zip(), *words], capture_output=True, cwd=cwd, check=False, timeout=60, stdin=subprocess.DEVNULL
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )
