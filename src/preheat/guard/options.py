"""Options: parse the standalone guard's command line and its JSON configuration file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Callable, Iterable, Mapping, NamedTuple, Sequence

from preheat.guard.kernel.descriptors import open_text
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy

if TYPE_CHECKING:
    from preheat.guard.memory_snapshot.memory_snapshots import MemoryPolicy
    from preheat.guard.warm_up.warmed_file import FileRange

USAGE = """usage: python guard.pyz [options] -- COMMAND …

  --ready PROBE        http://…, tcp:PORT, line:REGEX, exec:CMD, gradio:URL, openai:URL, wav:URL
  --ready-within TIME  give up if the app is not ready after this time (10m)
  --alive PROBE        liveness probe, used once the app is ready (default: the --ready probe)
  --hang-after TIME    restart the app when the liveness probe has failed for this long (never)
  --stop-within TIME   grace period between SIGTERM and SIGKILL (10s)
  --max-restarts N     maximum restarts after crashes (3; -1: no limit)
  --status HOST:PORT   serve /livez, /readyz, /startupz, /metrics and a status page
  --front HOST:PORT    listen on the app's public port; {port} in the command is the port the app listens on
  --publish            make the --ready probe's port reachable at this machine's other addresses too, for containers
  --port N             the app's port, if it is not that of the --ready probe; for --publish
  --standby            keep a second instance loaded (requires --front)
  --drain-within TIME  how long an instance that is replaced may finish its open connections (30s)
  --warm FILE          read the files listed in FILE into the page cache, in that order
  --hub FILE           serve the hub's answers in FILE on loopback, as `preheat build` writes them, to the app
  --history FILE       store the durations of the last starts, to estimate the next
  --name NAME          the app's name on the status page
  --config FILE        JSON file with the same options, and "command", "env", "cwd"

       python guard.pyz --check HOST:PORT
                       health check: exit 0 if the app of the guard with this status address is ready, else 1
"""

_SWITCHES = ("publish", "standby")
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class GuardSetup(NamedTuple):
    """The guard's addresses and files around an app; an empty value disables the feature.

    `publish` makes the app's port reachable from outside a container (guard/net/published_port.py): `port`, or that of
    the probe if it is 0. `start_list` is called once the app is started, and returns what its start reads besides its
    weights; `warm` is a file that lists ranges of files. They are read into the page cache while the app starts, and
    the files in `weights` after them.
    `hub` is a file of prepared answers, served to the app in place of its hubs (guard/net/prepared_answers.py).
    `memory` is where the app's memory snapshots are; None to make and restore none.
    """

    name: str = ""
    status: str = ""
    front: str = ""
    publish: bool = False
    port: int = 0
    standby: bool = False
    drain_within_s: float = 30.0
    warm: str = ""
    history: str = ""
    hub: str = ""
    weights: tuple[str, ...] = ()
    start_list: Callable[[], Iterable[FileRange]] | None = None
    memory: MemoryPolicy | None = None


class GuardOptions(NamedTuple):
    """All options of the guard: the app, its restart policy, and the guard's setup."""

    app: App
    patience: RestartPolicy = RestartPolicy()
    stage: GuardSetup = GuardSetup()


def read_settings(words: Sequence[str], env: Mapping[str, str]) -> GuardOptions:
    """Parse a command line and its `--config` file; the command line takes precedence.

    Raise ValueError with a message for the user.
    """
    split = list(words).index("--") if "--" in words else len(words)
    options = _options(words[:split])
    command = list(words[split + 1 :])
    if "config" in options:
        options = {**_config(str(options.pop("config"))), **options}
    command = command or _words(options.pop("command", []))
    options.pop("command", None)
    if not command:
        raise ValueError("no command given: add -- COMMAND")
    more = options.pop("env", {})
    if not isinstance(more, dict):
        raise ValueError("env must be an object of names and values")
    cwd = options.pop("cwd", None)
    app = App(
        tuple(command),
        env={**env, **{str(name): str(value) for name, value in more.items()}},
        cwd=None if cwd is None else str(cwd),
        ready=str(options.pop("ready", "")),
        alive=str(options.pop("alive", "")),
    )
    patience = _patience(options)
    drain_s = read_time(str(options.pop("drain_within", "30s")))
    stage = GuardSetup(
        name=str(options.pop("name", "")) or command[0].rpartition("/")[2],
        status=str(options.pop("status", "")),
        front=str(options.pop("front", "")),
        publish=options.pop("publish", False) is True,
        port=_port(options.pop("port", 0)),
        standby=options.pop("standby", False) is True,
        drain_within_s=drain_s,
        warm=str(options.pop("warm", "")),
        history=str(options.pop("history", "")),
        hub=str(options.pop("hub", "")),
    )
    if options:
        raise ValueError(f"unknown option {sorted(options)[0]!r}\n\n{USAGE}")
    return GuardOptions(app, patience, stage)


def read_time(text: str) -> float:
    """Parse a duration such as `40ms`, `3s`, `2m`, `1h`, or a number of seconds; return seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if not found:
        raise ValueError(f"{text!r} is not a time: 40ms, 3s, 10m")
    return float(found[1]) * _TIMES[found[2] or "s"]


def read_address(text: str) -> tuple[str, int]:
    """Parse `HOST:PORT`, `[::1]:PORT`, `:PORT` (all interfaces) or `PORT` (loopback only)."""
    found = re.fullmatch(r"(?:(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*)):)?(\d{1,5})", text)
    if not found or int(found[3]) > 65535:
        raise ValueError(f"{text!r} is not an address: HOST:PORT")
    if ":" not in text:
        return "127.0.0.1", int(found[3])
    return found[1] or found[2] or "0.0.0.0", int(found[3])  # noqa: S104 - the user chose all interfaces


def _patience(options: dict[str, object]) -> RestartPolicy:
    usual = RestartPolicy()

    def time(name: str, otherwise: float) -> float:
        return read_time(str(options.pop(name))) if name in options else otherwise

    return usual._replace(
        ready_within_s=time("ready_within", usual.ready_within_s),
        stop_within_s=time("stop_within", usual.stop_within_s),
        hang_after_s=time("hang_after", usual.hang_after_s),
        max_restarts=_whole("max_restarts", options.pop("max_restarts", usual.max_restarts)),
    )


def _options(words: Sequence[str]) -> dict[str, object]:
    options: dict[str, object] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise ValueError(f"{word!r} is not an option; the command comes after --\n\n{USAGE}")
        name = name[2:].replace("-", "_")
        if name in _SWITCHES and not equals:
            options[name] = True
        elif equals:
            options[name] = value
        elif left:
            options[name] = left.pop(0)
        else:
            raise ValueError(f"{word} requires a value\n\n{USAGE}")
    return options


def _config(path: str) -> dict[str, object]:
    import json

    try:
        with open_text(path) as file:
            options = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(options, dict):
        raise ValueError(f"{path}: must contain a JSON object")
    return {str(name).replace("-", "_"): value for name, value in options.items()}


def _words(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("command must be a list of strings")
    return [str(word) for word in value]


def _port(value: object) -> int:
    number = _whole("port", value)
    if not 0 <= number <= 65535:
        raise ValueError(f"{number} is not a port: 1 to 65535")
    return number


def _whole(name: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise ValueError(f"{name}: {value!r} is not a whole number") from error
