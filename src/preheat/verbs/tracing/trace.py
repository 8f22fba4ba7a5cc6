"""Trace: start an unmodified app once, and write its recipe and lock, with remarks on files left out."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from preheat.core.errors import AppError, UsageError
from preheat.core.events import Listener, Noted
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.disk.temporary_file import TRACE, tidy, write_whole
from preheat.guard.model.app import App
from preheat.library.library import Library
from preheat.mirror.http.server import Server
from preheat.proof.conditions.scratch_folder import fresh, sweep
from preheat.recipes.inference.infer import Inferred, infer
from preheat.recipes.inference.observation import Observation
from preheat.recipes.inference.omitted import LARGE
from preheat.recipes.lock_file import lock_path
from preheat.recipes.recipe_writer import recipe_text
from preheat.verbs.local_hub import led
from preheat.verbs.lock import keep_lock
from preheat.verbs.tracing.cancellable_resolve import Asking
from preheat.verbs.tracing.keep import keep
from preheat.verbs.tracing.observing.observe import TracedApp, observe, reached
from preheat.verbs.tracing.readiness import TraceWatch, Wanted
from preheat.verbs.tracing.traced_caches import traced_caches
from preheat.verbs.tracing.traced_start import ObservedStart, Recorder, noted, traced_start
from preheat.verbs.tracing.workbench import OVERLAY, AppFolders, Workbench

_HARDLY = 0.1


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Options of a trace: the recipe's path, and how to observe the start.

    `mirror`: returns a pull-through mirror that emits events to the listener. `resolve`: resolves a ref at its hub.
    `wanted`: reports whether the user ended the trace. `keep_unread`: include files that the app did not read.
    `home`: the user's home folder. `overlay`: whether this process may move to overlays until it ends (see Workbench).
    """

    path: Path
    watch: TraceWatch
    mirror: Callable[[Listener], Server]
    resolve: Callable[[Ref], Snapshot | None]
    wanted: Wanted = Wanted()  # noqa: RUF009 - a value, and frozen
    keep_unread: bool = False
    home: Path | None = None
    overlay: bool = False


@dataclass(frozen=True, slots=True)
class Traced:
    """Result of a trace: the inferred recipe, and the observations that it is based on."""

    inferred: Inferred
    observation: Observation
    seen: ObservedStart
    remarks: tuple[str, ...] = field(default=())


def trace(app: App, name: str, library: Library, terms: TraceOptions, on_event: Listener) -> Traced:
    """Start `app` in its `cwd`, and write its recipe and lock.

    Raise AppError if the app fails, UsageError if the recipe cannot be written. Files that the app downloaded through
    the mirror stay in the library.
    """
    library.prepare(0)
    sweep(library.root)
    recorder = Recorder(on_event)
    environ = app.env or {}
    folders = AppFolders.of(Path(app.cwd or "."), app.command, environ, terms.home)
    with contextlib.ExitStack() as until:
        workplace = until.enter_context(fresh(library.root, TRACE))
        bench = Workbench.open(folders, library.root, workplace, overlay=terms.overlay)
        lead = until.enter_context(led(terms.mirror(recorder), environ, workplace, on_event))
        caches = traced_caches(environ, terms.home, workplace, covered=bench.how == OVERLAY)
        try:
            seen = traced_start(app, workplace, lead, terms.watch, recorder, terms.wanted, caches)
        except AppError:
            for one in reached(noted(workplace)):
                by = " < ".join(one.modules) or "the app"
                on_event(Noted(f"{one.host}:{one.port}", f"connection attempts: {one.count}, from {by}"))
            raise
        bodies = workplace / "notes" / "bodies"
        folder = terms.path.absolute().parent
        subject = TracedApp(name, folder, app.command, terms.watch.first, environ, bench.written(), bodies)
        asking = Asking(terms.resolve, terms.wanted)
        observed = observe(seen, subject, library, asking, terms.wanted.hurried)
        observation = observed.observation
        inferred = infer(observation, keep_unread=terms.keep_unread)
        for file in keep(inferred.lock, observed, library, bench.real, on_event):
            on_event(Noted(file.path, f"not in the library: {file.size} bytes, {file.digest}"))
    remarks = _remarks(inferred, observation, seen)
    if asking.cut_short or terms.wanted.hurried():
        said = "Ended early: not every hub was asked, and not every file was compared. Needs may be missing."
        remarks = (said, *remarks)
        on_event(Noted(terms.path.name, said))
    path = bench.outside(terms.path.absolute())
    try:
        tidy(path)
        write_whole(path, recipe_text(inferred.recipe, remarks).encode(errors="replace"))
    except OSError as error:
        raise UsageError(f"{terms.path} cannot be written: {error.strerror}", hint="choose another: -o FILE") from error
    keep_lock(path.with_suffix(lock_path(inferred.recipe).suffix), inferred.lock)
    return Traced(inferred, observation, seen, remarks)


def _remarks(inferred: Inferred, observation: Observation, seen: ObservedStart) -> tuple[str, ...]:
    """Return the remarks for the head of the recipe: how it was found, and what may be missing."""
    day = datetime.now(UTC).date().isoformat()
    remarks = [f"Found by preheat trace on {day}, from one start. Files that only later use needs are not in it."]
    if not seen.notes.processes:
        remarks.append("No Python process was observed: none ran, or all ran with -I, -E or an empty environment.")
    if not observation.sees_native:
        remarks.append("Files opened by native code may be missed (/proc was polled), so no unread file was left out.")
    remarks += [
        f"hardly read: {one.path}: {one.read} of {one.size} bytes"
        for one in observation.opened
        if one.read is not None and one.size >= LARGE and one.read < _HARDLY * one.size
    ]
    remarks += [
        f"{one.ref} is outside this folder: preheat pull and run need --allow-place {one.at}"
        for one in inferred.recipe.needs
        if Path(one.at).is_absolute()
    ]
    remarks += [f"left out: {one.what}: {one.size / 1e6:.1f} MB, {one.reason}" for one in inferred.left_out]
    remarks += [
        f"written outside this folder: {made.path.removeprefix(cache)[1:]} in {variable}, {made.size} bytes"
        for variable, cache in observation.caches.items()
        for made in observation.made
        if made.path.startswith(f"{cache}/") and made.size >= 10_000
    ]
    remarks += [
        f"connection attempts: {one.count} to {one.host} port {one.port}, from {' < '.join(one.modules) or 'the app'}"
        for one in observation.reached
    ]
    return tuple(remarks)
