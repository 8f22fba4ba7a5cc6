"""Preheat: run the command as users and programs do: in its own process, with its own environment."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.authority import authority

COMMAND = Path(sys.executable).with_name("preheat")
# Not part of any test: it only ends a hanging command.
HANGS_S = 60.0


@dataclass(frozen=True, slots=True)
class Told:
    """The result of the command: exit status, stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Parse stdout as one JSON object per line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        """Return the last JSON object."""
        return self.events[-1]


class Running:
    """A command that is still running; its output goes to files, so that no pipe fills up."""

    def __init__(self, words: tuple[str, ...], env: Mapping[str, str], cwd: Path, at: Path) -> None:
        self._out, self._err = at.with_suffix(".out"), at.with_suffix(".err")
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = subprocess.Popen(
                words, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def out(self) -> str:
        """The output on stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """The output on stderr so far."""
        return self._err.read_text()

    def until(self, happens: Callable[["Running"], object]) -> None:
        """Wait until a condition on the running command is true."""
        deadline = time.monotonic() + HANGS_S
        while not happens(self):
            assert self.process.poll() is None or happens(self), f"it ended: {self.out}{self.err}"
            assert time.monotonic() < deadline, f"it never came: {self.out}{self.err}"
            time.sleep(0.01)

    def event(self, name: str, said: Callable[["Running"], str] = lambda running: running.out) -> dict[str, Any]:
        """Wait for the first JSON object with this event name, and return it."""

        def found(running: "Running") -> list[str]:
            lines = said(running).split("\n")[:-1]
            return [line for line in lines if line.startswith(f'{{"event":"{name}"')]

        self.until(found)
        event: dict[str, Any] = json.loads(found(self)[0])
        return event

    def kill(self, number: int = signal.SIGKILL) -> Told:
        """Send it a signal, and wait until it ends."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self, within_s: float = HANGS_S) -> Told:
        """Wait until it ends."""
        status = self.process.wait(within_s)
        return Told(status, self.out, self.err)


class Preheat:
    """Run the command in `folder`, with a library there and an almost empty environment."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.command = COMMAND
        self.folder = folder
        self.library = folder / "library"
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "HF_ENDPOINT": endpoint} | authority().environ
        self._running: list[Running] = []
        self._numbers = itertools.count()  # a separate one for each command, also in threads

    def __call__(self, *words: str, inside: tuple[str, ...] = (), **env: str) -> Told:
        """Run it until it ends. `inside` is a command prefix that runs it, such as `unshare`."""
        return self.start(*words, inside=inside, **env).ended()

    def start(self, *words: str, inside: tuple[str, ...] = (), **env: str) -> Running:
        """Start it."""
        said = self.folder / f"said-{next(self._numbers)}"
        library = {} if "--library" in words else {"PREHEAT_LIBRARY": str(self.library)}
        command = (*inside, str(self.command), *words)
        running = Running(command, self.env | library | env, self.folder, said)
        self._running.append(running)
        return running

    def close(self) -> None:
        """Kill processes that a failed test has left running."""
        for running in self._running:
            if running.process.poll() is None:
                running.process.terminate()
                try:
                    running.process.wait(5)
                except subprocess.TimeoutExpired:
                    running.process.kill()
                    running.process.wait()
