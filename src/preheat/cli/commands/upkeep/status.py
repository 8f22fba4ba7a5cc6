"""The `preheat status` command."""

import argparse
import time

from preheat.api import status
from preheat.cli.hints import as_typed
from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_seconds, say_size
from preheat.core.values.replace import replace
from preheat.library.app_notes import AppNote
from preheat.verbs.upkeep.running_notes import MIRROR, RunningProcess
from preheat.verbs.upkeep.saved_apps import age, memory_facts
from preheat.verbs.upkeep.status import LibraryStatus, Status

_MOST_APPS = 10  # to list in the text


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat status`; return the exit status."""
    found = status(session=wiring)
    steps = (replace(step, command=as_typed(step.command, options)) for step in found.steps)
    found = replace(found, steps=tuple(steps))
    wiring.console.done(_facts(found), "\n".join(_lines(found)))
    return 0


def _facts(found: Status) -> dict[str, object]:
    library, app = found.library, found.app
    return {
        "library": {
            "path": str(library.root),
            "size": library.size,
            "free": library.free,
            "versions": len(library.versions),
            "pinned": sum(one.pinned for one in library.versions),
            "partial": len(library.partial),
            "interrupted": library.interrupted,
            "old": len(library.old),
            "old_size": library.old_size,
        },
        "app": None
        if app is None
        else {
            "name": app.name,
            "path": str(app.path),
            "missing": app.missing,
            "stale": app.stale,
            "error": app.error,
        },
        "other_apps": [
            {"name": one.name, "path": str(one.recipe), "here": one.here, "used_at": one.used_at}
            for one in found.others
        ],
        "running": [
            {
                "verb": one.verb,
                "name": one.name,
                "pid": one.pid,
                "life": one.life,
                "addresses": one.addresses,
                "folder": one.folder,
                "library": one.library,
                "began_at": one.began_at,
            }
            for one in found.processes
        ],
        "memory_snapshots": [memory_facts(saved) for saved in found.memory],
        "stale": found.stale,
        "next": [{"command": one.command, "reason": one.reason} for one in found.steps],
    }


def _lines(found: Status) -> list[str]:
    lines = [f"library  {_library(found.library)}"]
    app = found.app
    if app is not None:
        state = app.error or (f"missing: {', '.join(app.missing)}" if app.missing else "all it needs is in the library")
        lines.append(f"app      {app.name} ({app.path}): {state}")
    lines += [f"app      {_other(one)}" for one in found.others[:_MOST_APPS]]
    if len(found.others) > _MOST_APPS:
        lines.append(f"app      and {len(found.others) - _MOST_APPS} more")
    lines += [f"running  {_process(one)}" for one in found.processes] or ["running  nothing"]
    lines += [f"memory   {saved.app}: {say_size(saved.size)}, saved {age(saved)}" for saved in found.memory]
    lines += [f"stale    {words}" for words in found.stale]
    width = max((len(step.command) for step in found.steps), default=0)
    lines += [f"next     {step.command.ljust(width)}  {step.reason}" for step in found.steps]
    return lines


def _other(app: AppNote) -> str:
    where = str(app.recipe) if app.here else f"{app.recipe} on another machine"
    return f"{app.name} ({where}): last used {say_seconds(max(time.time() - app.used_at, 0.0))} ago"


def _library(library: LibraryStatus) -> str:
    words = [f"{library.root}: {say_size(library.size)} in {say_count(len(library.versions), 'version')}"]
    if pinned := sum(one.pinned for one in library.versions):
        words.append(f"{pinned} pinned")
    if library.interrupted:
        words.append(f"{say_size(library.interrupted)} of interrupted downloads")
    return ", ".join([*words, f"{say_size(library.free)} free"])


def _process(one: RunningProcess) -> str:
    what = "mirror" if one.verb == MIRROR else f"{one.name} ({one.life})"
    addresses = f" at {', '.join(one.addresses)}" if one.addresses else ""
    since = say_seconds(max(time.time() - one.began_at, 0.0))
    return f"{what}{addresses}, PID {one.pid}, for {since}"
