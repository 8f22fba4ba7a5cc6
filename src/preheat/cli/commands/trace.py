"""The `preheat trace` command."""

import argparse
import signal
from dataclasses import replace
from pathlib import Path
from types import FrameType

from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.errors import HubError, UsageError
from preheat.core.events import Listener
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.core.units import say_seconds, say_size
from preheat.guard.model.app import App
from preheat.mirror.api.folders import Shelf
from preheat.mirror.http.server import Server
from preheat.proof.start.trial import read_first
from preheat.recipes.recipe import FILE_NAME, Need, is_app_name
from preheat.verbs.mirror import WHILE_CLIENTS_WAIT, House, mirror
from preheat.verbs.pull import resolve
from preheat.verbs.tracing.trace import Traced, TraceOptions, trace
from preheat.verbs.tracing.traced_start import TraceWatch, Wanted


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat trace`; return the exit status."""
    path = _target(options)
    if not options.command or not options.command[0]:
        raise UsageError("no command to trace", hint="preheat trace -- python webui.py")
    if options.name and not is_app_name(options.name):
        raise UsageError(f"{options.name!r} is not an app's name", hint="letters, digits and dashes")
    if options.first:
        read_first(options.first)
    settle_s, within_s = read_seconds(options.settle), read_seconds(options.ready_within)
    watch = TraceWatch(options.ready or "", options.first or "", settle_s, within_s, options.opens or "")
    enough: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal gives them
        # The first signal stops the app, the second the analysis after it; the recipe is written all the same.
        if len(enough) > 1:
            raise KeyboardInterrupt
        enough.append(number)

    def serve(on_event: Listener) -> Server:
        upstreams = [f"{hub}={url}" for hub in ("hf", "ms") for url in wiring.endpoints[hub]]
        behind = wiring.upstreams(upstreams)
        # The files are downloaded for the app's user, so record them as the user's, not as the mirror's.
        house = House(patience=replace(WHILE_CLIENTS_WAIT, lasting_s=wiring.patience.lasting_s), by="")
        return mirror(("127.0.0.1", 0), wiring.library, Shelf({}), on_event, None, behind, house)

    def ask(ref: Ref) -> Snapshot | None:
        try:
            return resolve(wiring.sources(Need(ref)), wiring.console, wiring.patience)[1]
        except HubError:
            return None

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    folder = path.absolute().parent
    app = App(tuple(options.command), {**wiring.own_tokens, **wiring.config.environ}, str(Path.cwd()))
    terms = TraceOptions(
        path, watch, serve, ask, Wanted(lambda: bool(enough), lambda: len(enough) > 1), options.keep_unread
    )
    name = options.name or folder.name.strip(".") or "app"
    traced = trace(app, name, wiring.library, terms, wiring.console)
    wiring.console.done(_figures(traced, path), _words(traced, path))
    return 0


def _target(options: argparse.Namespace) -> Path:
    """Return the path of the recipe to write; raise UsageError for an existing file, unless --force is set."""
    path = Path(options.output or FILE_NAME)
    if path.suffix != ".toml":
        raise UsageError(f"{path} has no recipe's suffix, .toml", hint="-o preheat.toml")
    if path.exists() and not options.force:
        raise UsageError(f"{path} exists already", hint="-o FILE for another file, or --force to overwrite it")
    if path.absolute().parent != Path.cwd():
        # A recipe's app is started in the recipe's folder: relative paths in the command would not fit there.
        raise UsageError(f"{path} is not in the current folder", hint=f"cd {path.parent}, and run preheat trace there")
    return path


def _figures(traced: Traced, path: Path) -> dict[str, object]:
    seen, found = traced.seen, traced.inferred
    calls = None if seen.attempts is None else [one for one in seen.attempts if one.lookup or not one.loopback]
    return {
        "recipe": str(path),
        "lock": str(path.with_suffix(".lock")),
        "ready": seen.ready,
        "ready_s": seen.ready_s,
        "needs": [
            {
                "ref": str(one.need.ref),
                "commit": one.snapshot.commit,
                "view": one.need.view,
                "at": one.need.at,
                "files": [{"path": file.path, "size": file.size} for file in one.snapshot.files],
            }
            for one in found.lock.needs
        ],
        "left_out": [{"what": one.what, "size": one.size, "reason": one.reason} for one in found.left_out],
        "opened": [
            {"path": one.path, "at_s": round(one.at, 3), "size": one.size, "read": one.read}
            for one in sorted(traced.observation.opened, key=lambda one: one.at)
        ],
        "made": [{"path": one.path, "size": one.size} for one in traced.observation.made],
        "reached": [
            {"host": one.host, "port": one.port, "modules": one.modules, "count": one.count}
            for one in traced.observation.reached
        ],
        "calls": None
        if calls is None
        else [
            {"address": one.address, "port": one.port, "name": one.name, "program": one.program, "count": one.count}
            for one in calls
        ],
        "pythons": seen.notes.processes,
        "native_opens": seen.how,
        "imports_s": None if seen.imports is None else round(seen.imports.seconds, 3),
        "slowest_imports": []
        if seen.imports is None
        else [[p.name, round(p.seconds, 3)] for p in seen.imports.slowest],
    }


def _words(traced: Traced, path: Path) -> str:
    found, seen = traced.inferred, traced.seen
    lines = []
    for one in found.lock.needs:
        size = say_size(sum(file.size for file in one.snapshot.files))
        place = f"{one.need.view}{' at ' + one.need.at if one.need.at else ''}"
        lines.append(f"needs {one.need.ref}: {size} in {len(one.snapshot.files)} files, {place}")
    lines += [f"left out {one.what}: {say_size(one.size)}, {one.reason}" for one in found.left_out]
    lines += [f"created {one.path}: {say_size(one.size)}" for one in traced.observation.made if one.size >= 10_000]
    lines += [
        f"tried to reach {one.host}:{one.port} ({one.count}×), from {' < '.join(one.modules) or 'the app'}"
        for one in traced.observation.reached
    ]
    if seen.imports is not None and seen.imports.slowest:
        slowest = ", ".join(f"{package.name} {say_seconds(package.seconds)}" for package in seen.imports.slowest[:5])
        lines.append(f"slowest imports: {slowest}")
    if seen.ready_s is not None:
        lines.append(f"ready after {say_seconds(seen.ready_s)}: {seen.ready}")
    lines.append(f"native opens traced by {seen.how}; Python processes traced: {seen.notes.processes}")
    if not found.lock.needs:
        lines.append("no downloads were seen; are the models already in the app's own folder?")
    lines.append(f"written: {path}, {path.with_suffix('.lock')}. Next: preheat run --network watch {path}")
    return "\n".join(lines)
