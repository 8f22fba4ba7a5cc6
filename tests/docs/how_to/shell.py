"""Shell: type a page's commands in bash, one after the other, as its reader does; programs that stay run beside it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.command import COMMAND, HANGS_S, Running

# A command that runs until it is stopped, and the text by which its user sees that it is ready.
_READY = {
    r"^preheat mirror": "serving at ",
    r"^preheat run .*--memory-snapshot .*--idle-after": "ready after",
    r"^preheat run .*--memory-snapshot": "memory snapshot made|restored from memory",
    r"^preheat run|preheat\.py run": "ready after",
}


class Shell:
    """A folder, an environment, and the program that runs beside the shell; `machine` is its HOME."""

    def __init__(self, machine: Path, env: Mapping[str, str]) -> None:
        (machine / "bin").mkdir(parents=True)
        (machine / "bin/preheat").symlink_to(COMMAND)
        self.home = self.cwd = machine
        self.env = {"HOME": str(machine), "PATH": f"{machine}/bin:{os.environ['PATH']}", "LANG": "C.UTF-8", **env}
        self._beside: Running | None = None

    @property
    def library(self) -> Path:
        """The library's default place."""
        return self.home / ".local/share/preheat/library"

    def write(self, path: str, program: str) -> None:
        """Write a program below HOME."""
        at = self.home / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(program)
        at.chmod(0o755)

    def type(self, line: str) -> str:
        """Run a line to its end, or until it is ready; return what it printed. It must succeed."""
        ready = next((text for pattern, text in _READY.items() if re.search(pattern, line)), "")
        return self._stays(line, ready) if ready else self._ends(line)

    def close(self) -> None:
        """Stop the program beside the shell, as Ctrl-C and `kill` do."""
        if self._beside is not None and self._beside.process.poll() is None:
            told = self._beside.kill(signal.SIGTERM)
            assert told.status in (0, 128 + signal.SIGTERM), told.out + told.err
        self._beside = None

    def _ends(self, line: str) -> str:
        state = self.home / ".typed"
        # The next line gets the folder and the variables of this one.
        script = f'{line}\nstatus=$?\npwd > "{state}.cwd"\nenv -0 > "{state}.env"\nexit $status\n'
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * HANGS_S,  # podman on a busy machine
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        self.cwd = Path(Path(f"{state}.cwd").read_text().rstrip("\n"))
        pairs = Path(f"{state}.env").read_text().split("\0")[:-1]
        self.env = dict(pair.split("=", 1) for pair in pairs)
        return done.stdout + done.stderr

    def _stays(self, line: str, ready: str) -> str:
        self.close()
        at = self.home / f".beside-{time.monotonic_ns()}"
        self._beside = running = Running(("bash", "-c", f"exec {line}"), self.env, self.cwd, at)
        running.until(lambda one: one.process.poll() == 0 or re.search(ready, one.out + one.err))
        return running.out + running.err
