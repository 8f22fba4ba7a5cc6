"""Run: start an app offline with files from the library, and keep it running.

What only `--network` needs is imported where it is used, because the app starts after the imports.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from preheat import guard
from preheat.core.errors import AppError, UsageError
from preheat.core.events import AppChanged, Listener, NetworkSeen, Noted
from preheat.guard.model.app import PORT, PORT_VARIABLES, App
from preheat.guard.model.life import RestartPolicy, State
from preheat.guard.options import GuardOptions, GuardSetup
from preheat.guard.probes.probes import port_of
from preheat.guard.process.process import Output
from preheat.guard.setup import AddressTaken, keep
from preheat.guard.supervise.supervisor import Changed, Event, Notice, Outcome

if TYPE_CHECKING:
    from preheat.guard.witness.connections import Attempt, Witness
    from preheat.guard.witness.download_lines import DownloadLines

# They listen on the ports of containers.
_PUBLISHERS = ("conmon", "docker-proxy", "rootlessport", "pasta", "pasta.avx2", "slirp4netns")


class RunOptions(msgspec.Struct, frozen=True):
    """How to supervise an app: restart policy, output streams, network call counting, and guard setup."""

    patience: RestartPolicy = RestartPolicy()
    output: Output = Output()
    network: bool = False
    stage: GuardSetup = GuardSetup()


def run(app: App, watch: RunOptions, on_event: Listener) -> int:
    """Start `app`, restart it when it crashes, stop it on SIGINT and SIGTERM; return its exit status.

    An isolated app runs in its own network namespace; its outbound attempts are counted if the system permits. Raise
    AppError if the app could not be started, was never ready, or used up its restarts.
    """
    if app.isolated:
        _require_namespaces()
    witness, heard = _watchers(app) if watch.network else (None, None)
    try:
        settings = GuardOptions(app, watch.patience, watch.stage)
        output = watch.output._replace(download_lines=heard)
        outcome = keep(settings, _telling(on_event), output=output, witness=witness)
    except AddressTaken as error:
        raise AppError(str(error), hint="stop that process, or choose another address") from error
    except ValueError as error:
        raise UsageError(str(error), hint="--ready http://127.0.0.1:7860/, tcp:7860, line:REGEX or exec:CMD") from error
    if witness is not None:
        on_event(network_seen(witness))
    for line in heard.lines() if heard is not None else ():
        on_event(Noted("the app's output mentions a download, although this start is offline", line))
    if outcome.fatal:
        raise AppError(outcome.reason, hint=_hint(app, outcome, watch.stage.front), tail=outcome.tail)
    return outcome.status


def mapping_weights(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that make the guard's Python shim memory-map weights in the app."""
    return _shimmed(environ) | {"PREHEAT_MMAP_WEIGHTS": "1"}


def stopwatch(environ: Mapping[str, str], notes: Path) -> dict[str, str]:
    """Return the environment variables that make the app's Python log its imports to the folder `notes`."""
    return _shimmed(environ) | {"PREHEAT_STOPWATCH": str(notes)}


def _shimmed(environ: Mapping[str, str]) -> dict[str, str]:
    shim = Path(guard.__file__).parent / "shim"
    paths = [str(shim), *([environ["PYTHONPATH"]] if environ.get("PYTHONPATH") else [])]
    return {"PYTHONPATH": os.pathsep.join(paths)}


def _require_namespaces() -> None:
    from preheat.guard.net.network_namespace import why_not

    if reason := why_not():
        raise AppError(reason, hint="--network watch counts outbound attempts, and needs no permission")


def _watchers(app: App) -> tuple[Witness | None, DownloadLines]:
    from preheat.guard.witness.connections import Witness
    from preheat.guard.witness.download_lines import DownloadLines

    return witness_for(app) if not app.isolated or Witness.available() else None, DownloadLines()


def witness_for(app: App) -> Witness:
    """Return a witness that ignores connections to the app's own port. Raise AppError if calls cannot be counted."""
    from preheat.guard.witness.connections import Witness

    available = Witness.available()
    if not available:
        raise AppError(f"its network calls cannot be counted: {available.reason}", hint="omit --network")
    # A port that is chosen at each start is not known yet; with a front, only the guard connects to it.
    port = port_of(app.ready) if app.ready and PORT not in app.ready else None
    return Witness(own_ports=app.reaches if port is None else (port, *app.reaches))


def network_seen(witness: Witness, own: frozenset[int] = frozenset()) -> NetworkSeen:
    """Summarize outbound attempts, most frequent first, ignoring connections to the app's `own` ports on loopback."""
    return _seen(witness, lambda one: one.lookup or not one.loopback or one.port not in own)


def outbound_seen(witness: Witness) -> NetworkSeen:
    """Summarize outbound attempts as `network_seen` does, ignoring all connections on loopback."""
    return _seen(witness, lambda one: one.lookup or not one.loopback)


def _seen(witness: Witness, counts: Callable[[Attempt], bool]) -> NetworkSeen:
    attempts = [one for one in witness.attempts if counts(one)]
    places: dict[str, int] = {}
    for attempt in attempts:
        place = _place(attempt)
        places[place] = places.get(place, 0) + attempt.count
    destinations = tuple(f"{place} ({count})" for place, count in sorted(places.items(), key=lambda item: -item[1]))
    lookups = sum(attempt.count for attempt in attempts if attempt.lookup)
    return NetworkSeen(sum(attempt.count for attempt in attempts), lookups, destinations, witness.blind_spots)


def _place(attempt: Attempt) -> str:
    """Describe the destination of an attempt, with the host name first if it is known."""
    address = attempt.address if attempt.port == 0 else f"{attempt.address}:{attempt.port}"
    if attempt.lookup:
        what = f"lookup of {attempt.name}" if attempt.name else "lookup of a name that could not be read"
        return f"{what} at {address} by {attempt.program}"
    return (
        f"{attempt.name}:{attempt.port} at {address} by {attempt.program}"
        if attempt.name
        else (f"{address} by {attempt.program}")
    )


def _telling(on_event: Listener) -> Callable[[Event], None]:
    began = time.monotonic()

    life: State = "starting"

    def tell(event: Event) -> None:
        nonlocal life
        if isinstance(event, Changed):
            life = event.life
            on_event(AppChanged(event.life, event.detail, event.seconds))
        elif isinstance(event, Notice):
            # With the app's state: an app that still starts must not seem to run.
            on_event(AppChanged(life, event.words, time.monotonic() - began))

    return tell


def _hint(app: App, outcome: Outcome, front: str) -> str:
    if "not ready" in outcome.reason and front and not any(PORT in word for word in app.command):
        return f"does it take its port from {', '.join(PORT_VARIABLES[:2])}? else insert {PORT} into its command"
    if "not ready" in outcome.reason:
        return f"does it respond at {app.ready}? more time: --ready-within 20m"
    if "taken" in outcome.reason:
        if any(f" by {program} " in outcome.reason for program in _PUBLISHERS):
            return "a container publishes that port; its name: podman ps, or docker ps; to stop it: podman stop NAME"
        return "stop that process, or choose another port for the app"
    if " cannot import " in outcome.reason:
        return (
            "start it with the Python of its own environment, as in .venv/bin/python app.py, or install what it lacks"
        )
    if "cannot be started: " in outcome.reason:
        from preheat.guard.process.program_file import HINT

        return HINT
    if "no such command" in outcome.reason:
        return "is it installed, and on this shell's PATH? is the app's environment active?"
    if outcome.starts and not outcome.tail:
        return f"try it by hand: {' '.join(app.command)}"
    return "the last lines of its output are above" if outcome.tail else "is the command right?"
