"""Options: the guard's command line, or the same in a JSON file, where preheat is not installed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Mapping, Sequence

from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy

USAGE = """usage: python guard.pyz [options] -- COMMAND …

  --ready PROBE        http://…, tcp:PORT, line:REGEX, exec:CMD, gradio:URL, openai:URL, wav:URL
  --ready-within TIME  give up if it is not ready by then (10m)
  --alive PROBE        whether, once ready, it still answers (as --ready)
  --hang-after TIME    start it anew when it has not answered for so long (never)
  --stop-within TIME   time to stop in peace (10s)
  --max-restarts N     restarts after crashes (3; -1: no limit)
  --status HOST:PORT   answer /livez /readyz /startupz /metrics and a page there
  --front HOST:PORT    hold the app's public port; the app listens on {port}, which is put into its words
  --standby            keep a second instance loaded (needs --front)
  --drain-within TIME  how long one that leaves may finish what it began (30s)
  --warm FILE          bring the files listed there into the page cache, in that order
  --history FILE       remember there how long starts took
  --name NAME          what the app is called on the page
  --config FILE        the same words in JSON, and "command", "env", "cwd"

       python guard.pyz --check HOST:PORT
                       ask a guard's status address: 0 when its app is ready, for health checks
"""

_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class GuardSetup:
    """What stands around the app: addresses, and files; empty for none.

    `warm` is a file that lists what to bring into the page cache; `weights` are paths to bring in after those.
    """

    name: str = ""
    status: str = ""
    front: str = ""
    standby: bool = False
    drain_within_s: float = 30.0
    warm: str = ""
    history: str = ""
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class GuardOptions:
    """All of it."""

    app: App
    patience: RestartPolicy = field(default_factory=RestartPolicy)
    stage: GuardSetup = field(default_factory=GuardSetup)


def read_settings(words: Sequence[str], env: Mapping[str, str]) -> GuardOptions:
    """Read a command line, and the file that `--config` names; the line wins. Raise ValueError in clear words."""
    split = list(words).index("--") if "--" in words else len(words)
    said = _options(words[:split])
    command = list(words[split + 1 :])
    if "config" in said:
        said = {**_config(str(said.pop("config"))), **said}
    command = command or _words(said.pop("command", []))
    said.pop("command", None)
    if not command:
        raise ValueError("there is no command: … -- COMMAND")
    more = said.pop("env", {})
    if not isinstance(more, dict):
        raise ValueError("env is an object of names and values")
    cwd = said.pop("cwd", None)
    app = App(
        tuple(command),
        env={**env, **{str(name): str(value) for name, value in more.items()}},
        cwd=None if cwd is None else str(cwd),
        ready=str(said.pop("ready", "")),
        alive=str(said.pop("alive", "")),
    )
    patience = _patience(said)
    drain_s = read_time(str(said.pop("drain_within", "30s")))
    stage = GuardSetup(
        name=str(said.pop("name", "")) or command[0].rpartition("/")[2],
        status=str(said.pop("status", "")),
        front=str(said.pop("front", "")),
        standby=said.pop("standby", False) is True,
        drain_within_s=drain_s,
        warm=str(said.pop("warm", "")),
        history=str(said.pop("history", "")),
    )
    if said:
        raise ValueError(f"there is no {sorted(said)[0]!r}\n\n{USAGE}")
    return GuardOptions(app, patience, stage)


def read_time(text: str) -> float:
    """Read `40ms`, `3s`, `2m`, `1h`, or bare seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if not found:
        raise ValueError(f"{text!r} is not a time: 40ms, 3s, 10m")
    return float(found[1]) * _TIMES[found[2] or "s"]


def read_address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[::1]:PORT`, `:PORT` (everywhere) or `PORT` (this machine alone)."""
    found = re.fullmatch(r"(?:(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*)):)?(\d{1,5})", text)
    if not found or int(found[3]) > 65535:
        raise ValueError(f"{text!r} is not an address: HOST:PORT")
    if ":" not in text:
        return "127.0.0.1", int(found[3])
    return found[1] or found[2] or "0.0.0.0", int(found[3])  # noqa: S104 - asked for


def _patience(said: dict[str, object]) -> RestartPolicy:
    usual = RestartPolicy()

    def time(name: str, otherwise: float) -> float:
        return read_time(str(said.pop(name))) if name in said else otherwise

    return replace(
        usual,
        ready_within_s=time("ready_within", usual.ready_within_s),
        stop_within_s=time("stop_within", usual.stop_within_s),
        hang_after_s=time("hang_after", usual.hang_after_s),
        max_restarts=_whole("max_restarts", said.pop("max_restarts", usual.max_restarts)),
    )


def _options(words: Sequence[str]) -> dict[str, object]:
    said: dict[str, object] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise ValueError(f"{word!r} is not an option; the command comes after --\n\n{USAGE}")
        name = name[2:].replace("-", "_")
        if name == "standby" and not equals:
            said[name] = True
        elif equals:
            said[name] = value
        elif left:
            said[name] = left.pop(0)
        else:
            raise ValueError(f"{word} wants a value\n\n{USAGE}")
    return said


def _config(path: str) -> dict[str, object]:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path}: not an object")
    return {str(name).replace("-", "_"): value for name, value in said.items()}


def _words(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("command is a list of words")
    return [str(word) for word in value]


def _whole(name: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise ValueError(f"{name}: {value!r} is not a whole number") from error
