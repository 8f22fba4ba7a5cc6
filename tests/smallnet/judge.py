"""Judge: trace a program, then start it from its recipe elsewhere: another user, folder and home, without a network."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.command import COMMAND
from tests.smallnet.smallnet import SmallNet

_ELSEWHERE = 12346  # the number of the user who starts the recipe
WORKS = "WORKS"  # what each program prints when it has used its models
TIMED_OUT = 124  # the status of a command that took longer than the judge waits, as timeout(1) has it
_LAST_LINES = 6


@dataclass(frozen=True, slots=True)
class Program:
    """A program that downloads by itself, as a person writes it.

    `files` lie in its folder, `serve` fills the folder of the hosts, `packages` are what it is made of, for the report.
    In `command` `{python}` is the interpreter of the environment `venv`. `brings` are patterns of
    what a start installs into site-packages: removed before each start. `options` are more options of its trace.
    """

    name: str
    files: Mapping[str, str]
    command: tuple[str, ...]
    serve: Callable[[Path], None]
    packages: tuple[str, ...] = ()
    venv: str = ""
    brings: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its status, output and seconds."""

    status: int
    said: str
    seconds: float

    @property
    def works(self) -> bool:
        """Whether the program got to its end."""
        return self.status == 0 and WORKS in self.said

    @property
    def last_lines(self) -> str:
        """The end of the output, for people."""
        return "\n".join(self.said.strip().splitlines()[-_LAST_LINES:])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge found. Sizes in bytes. `attempts`: outbound requests of the replay, None if not counted.

    `refs` are those of the recipe's needs, `made` is the size of those that no URL has.
    """

    plain: Ended
    traced: Ended
    refs: tuple[str, ...] = ()
    size: int = 0
    made: int = 0
    pulled: Ended | None = None
    replayed: Ended | None = None
    attempts: int | None = None
    places: tuple[str, ...] = ()

    @property
    def needs(self) -> int:
        """The number of the recipe's needs."""
        return len(self.refs)

    @property
    def replays(self) -> bool:
        """Whether the recipe was enough elsewhere, without a single request."""
        return self.replayed is not None and self.replayed.works and self.attempts == 0


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges programs in `net`, with all it makes below `folder`; `user` is the number of who traces.

    `words` are more options of the trace. `starts`: how often a program is started before, and the last time counts.
    `pythons` are the interpreters by the name of their environment, and `other_pythons` the same elsewhere.
    """

    net: SmallNet
    folder: Path
    pythons: dict[str, str] = field(default_factory=dict)
    other_pythons: dict[str, str] = field(default_factory=dict)
    user: int = 0
    within_s: float = 600.0
    preheat: Path = COMMAND
    words: tuple[str, ...] = ()
    starts: int = 1

    def judge(self, program: Program) -> Verdict:
        """Trace and replay one program."""
        here, there = self.folder / "here" / program.name, self.folder / "there" / "apps" / program.name
        for _ in range(self.starts):
            self._fresh(here, program, self.user)
            began = self._in(here, program, self.user, self._command(program))
        self._fresh(here, program, self.user)
        events = here / "events.jsonl"
        options = ("--events", str(events), "--settle", "1s", *self.words, *program.options)
        words = (str(self.preheat), "trace", *options, "--", *self._command(program))
        traced = self._in(here, program, self.user, words)
        refs, size, made = _needs(events)
        recipe = here / "app" / "preheat.toml"
        if not recipe.is_file():
            return Verdict(began, traced)
        lock = recipe.with_suffix(".lock")
        app = self._fresh(there, program, _ELSEWHERE)
        for file in (recipe, lock):
            shutil.copy(file, app)
        # What no hub has comes from the machine where it was made.
        with self._mirror(here, program) as handed:
            pulled = self._in(there, program, _ELSEWHERE, (str(self.preheat), "pull", *handed, "preheat.toml"))
        events = there / "events.jsonl"
        replayed = self._in(
            there, program, _ELSEWHERE,
            (str(self.preheat), "run", "--locked", "--network", "none", "--max-restarts", "0", "--events", str(events)),
        )  # fmt: skip
        seen = [one for one in _events(events) if one.get("event") == "network-seen"]
        return Verdict(
            began, traced, refs, size, made, pulled, replayed,
            seen[-1]["outbound"] if seen else None, tuple(seen[-1]["places"]) if seen else (),
        )  # fmt: skip

    @contextmanager
    def _mirror(self, here: Path, program: Program) -> Iterator[tuple[str, ...]]:
        """Run a mirror of one machine's library; yield the words by which a pull on another asks it for made files."""
        command = (str(self.preheat), "mirror", "--json", "--listen", "127.0.0.1:8000")
        with subprocess.Popen(
            self.net.inside(command, user=self.user), env=self._environ(here, program, self.user),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=here,
        ) as mirror:  # fmt: skip
            try:
                assert mirror.stdout is not None
                # On a busy machine it takes longer to start than a pull waits for a server that refuses.
                mirror.stdout.readline()
                yield ("--endpoint", "made=http://127.0.0.1:8000")
            finally:
                mirror.terminate()

    def _fresh(self, place: Path, program: Program, user: int) -> Path:
        """Make a machine at `place`: the program as its author gave it, and an empty home; return its folder."""
        shutil.rmtree(place, ignore_errors=True)
        app = place / "app"
        for name in ("app", "home", "tmp", "library"):
            (place / name).mkdir(parents=True)
        for name, text in program.files.items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_text(text)
        for one in (place, *place.rglob("*")):
            os.chown(one, user, user)
        for packages in Path(_python(program, self._pythons(user))).parents[1].glob("lib/python3*/site-packages"):
            for one in (found for pattern in program.brings for found in packages.glob(pattern)):
                shutil.rmtree(one) if one.is_dir() else one.unlink()
        return app

    def _command(self, program: Program) -> tuple[str, ...]:
        # By name: each machine has its own environment first in its PATH.
        return tuple(word.replace("{python}", Path(_python(program, {})).name) for word in program.command)

    def _pythons(self, user: int) -> Mapping[str, str]:
        return self.pythons | self.other_pythons if user == _ELSEWHERE else self.pythons

    def _environ(self, place: Path, program: Program, user: int) -> dict[str, str]:
        folder = Path(_python(program, self._pythons(user))).parent
        return self.net.environ | {
            "PATH": f"{folder}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(place / "home"),
            "PREHEAT_LIBRARY": str(place / "library"),
        }

    def _in(self, place: Path, program: Program, user: int, command: Sequence[str]) -> Ended:
        began = time.monotonic()
        try:
            ended = subprocess.run(
                self.net.inside(command, tmp=place / "tmp", user=user), cwd=place / "app", stdin=subprocess.DEVNULL,
                env=self._environ(place, program, user), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=self.within_s, text=True, errors="replace", check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            return Ended(TIMED_OUT, (error.stdout or b"").decode(errors="replace"), self.within_s)
        return Ended(ended.returncode, ended.stdout, time.monotonic() - began)


def _python(program: Program, pythons: Mapping[str, str]) -> str:
    """Return the interpreter of a program, by default the one below the tests' own environment."""
    return pythons.get(program.venv, f"{sys.base_prefix}/bin/python3")


def _events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _needs(path: Path) -> tuple[tuple[str, ...], int, int]:
    """Return the refs of the needs that a trace found, without digests, the size of all, and of those that are made."""
    done = [one for one in _events(path) if one.get("event") == "done"]
    needs = done[-1]["needs"] if done else []
    refs = tuple(need["ref"].partition("#")[0] for need in needs)
    sizes = [sum(file["size"] for file in need["files"]) for need in needs]
    made = sum(size for ref, size in zip(refs, sizes, strict=True) if ref.startswith("made:"))
    return refs, sum(sizes), made
