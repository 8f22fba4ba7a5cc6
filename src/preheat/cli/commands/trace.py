"""The `preheat trace` command."""

import argparse
import signal
from pathlib import Path
from shlex import quote
from types import FrameType

from preheat.api.tracing import TraceTerms, trace_app
from preheat.cli.hints import as_typed
from preheat.cli.output.replay_facts import replay_facts
from preheat.cli.typed_units import read_seconds
from preheat.cli.wiring import Wiring
from preheat.core.units import say_count, say_seconds, say_size
from preheat.recipes.recipe import FILE_NAME
from preheat.verbs.placing.free_places import permission_for
from preheat.verbs.tracing.readiness import TraceWatch, Wanted
from preheat.verbs.tracing.trace import Traced


def command(options: argparse.Namespace, wiring: Wiring) -> int:
    """Run `preheat trace`; return the exit status."""
    stops: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal.signal passes both
        # The first signal stops the app, the second the analysis after it; the recipe is written all the same.
        if len(stops) > 1:
            raise KeyboardInterrupt
        stops.append(number)

    watch = TraceWatch(
        options.ready or "",
        options.first or "",
        read_seconds(options.settle),
        read_seconds(options.ready_within),
        options.opens or "",
    )
    terms = TraceTerms(
        output=Path(options.output or FILE_NAME),
        force=options.force,
        name=options.name or "",
        watch=watch,
        wanted=Wanted(lambda: bool(stops), lambda: len(stops) > 1, stops.clear),
        keep_unread=options.keep_unread,
        overlay=True,
        intercept=options.intercept,
        replay=not options.no_replay,
    )
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    path, traced = terms.output, trace_app(tuple(options.command), wiring, terms)
    wiring.console.done(_figures(traced, path), as_typed(_words(traced, path), options))
    traced.require_replayed(path)
    return 0


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
        "unread": traced.unread,
        "opened": [
            {"path": one.path, "at_s": round(one.at, 3), "size": one.size, "read": one.read}
            for one in sorted(traced.observation.opened, key=lambda one: one.at)
        ],
        "made": [{"path": one.path, "size": one.size} for one in traced.observation.made],
        "reached": traced.observation.reached,
        "calls": None
        if calls is None
        else [
            {"address": one.address, "port": one.port, "name": one.name, "program": one.program, "count": one.count}
            for one in calls
        ],
        "pythons": seen.notes.processes,
        "native_opens": seen.how,
        "imports_s": None if seen.imports is None else round(seen.imports.seconds, 3),
        "verified": found.recipe.verified,
        "replay": None if traced.replay is None else replay_facts(traced.replay),
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
        lines.append(f"needs {one.need.ref}: {size} in {say_count(len(one.snapshot.files), 'file')}, {place}")
    lines += [f"left out {one.what}: {say_size(one.size)}, {one.reason}" for one in found.left_out]
    if traced.unread:
        lines.append(
            f"{say_size(traced.unread)} in the library that no start opened; "
            "to remove them: preheat prune --unread --yes"
        )
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
    written = f"written: {path}, {path.with_suffix('.lock')}"
    if traced.replay is None:
        lines.append(f"{written}; not replayed; to replay it: preheat lock --check --replay {quote(str(path))}")
    elif traced.replay.replayed.passed:
        asked = (permission_for(one.need, one.snapshot)[0] for one in found.lock.needs)
        allowed = "".join(f" --allow-place {place}" for place in dict.fromkeys(filter(None, asked)))
        lines += [
            found.recipe.verified,
            f"{written}. Next: preheat run --locked --network none{allowed} {quote(str(path))}",
        ]
    else:
        lines.append(written)
    return "\n".join(lines)
