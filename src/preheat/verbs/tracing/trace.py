"""Trace: start an unmodified app once, and write its recipe and lock, with remarks on files left out."""

import contextlib
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from preheat.core.errors import AppError, NotReplayed
from preheat.core.events import Listener, Noted
from preheat.core.ref import MODELSCOPE, Ref, hub_of_host
from preheat.core.snapshot import Snapshot
from preheat.core.units import say_count, say_size
from preheat.core.values.replace import replace
from preheat.disk.temporary_file import TRACE
from preheat.guard.model.app import App
from preheat.library.library import Library
from preheat.mirror.http.server import Server
from preheat.net.http import Transport
from preheat.proof.conditions.scratch_folder import fresh, sweep
from preheat.proof.start.start_notes import TRACED, StartNotes, StartParts, slowest
from preheat.recipes.inference.infer import Inferred, also_opened, infer
from preheat.recipes.inference.observation import Observation
from preheat.recipes.inference.omitted import LARGE
from preheat.recipes.inference.portable_places import PortablePlaces
from preheat.verbs.local_hub import bypassed, led
from preheat.verbs.placing.free_places import permission_for
from preheat.verbs.tracing.cancellable_resolve import Asking
from preheat.verbs.tracing.intercept import intercept
from preheat.verbs.tracing.keep import keep, note_unread
from preheat.verbs.tracing.lost_hub import HubFailures
from preheat.verbs.tracing.observing.observe import Observed, TracedApp, observe, reached
from preheat.verbs.tracing.readiness import TraceWatch, Wanted
from preheat.verbs.tracing.recipe_files import RecipeFiles, verified_as
from preheat.verbs.tracing.replaying.missing_files import MissingFile, missing_files
from preheat.verbs.tracing.replaying.replay import NOT_REPLAYED, Replays, ReplayVerdict, patience_s
from preheat.verbs.tracing.replaying.replayed_start import Replayed, ReplaySetting
from preheat.verbs.tracing.secret_words import without_secrets
from preheat.verbs.tracing.traced_caches import traced_caches
from preheat.verbs.tracing.traced_start import ObservedStart, Recorder, noted, traced_start
from preheat.verbs.tracing.workbench import IN_PLACE, OVERLAY, AppFolders, Workbench, alone_in
from preheat.views.view_names import choose_view

_HARDLY = 0.1
_BY_HAND_AT_MOST_S = 120.0
_MUCH = 1_000_000_000  # bytes


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Options of a trace: the recipe's path, and how to observe the start.

    `mirror`: returns a pull-through mirror that emits events to the listener. `resolve`: resolves a ref at its hub.
    `wanted`: reports whether the user ended the trace. `keep_unread`: include files that the app did not read.
    `secrets`: the tokens of this session, which the recipe must not contain.
    `home`: the user's home folder. `intercept`: what an intercepting proxy forwards requests with, None for no such
    proxy. `overlay`: whether this process may move to overlays until it ends (see Workbench).
    `replay`: start the app from its recipe again. `unsafe`: what to do with unsafe files, see MirrorOptions.
    `failures`: collects those of the hubs behind the mirror. `state`: the user's folder for notes of starts, if any.
    """

    path: Path
    watch: TraceWatch
    mirror: Callable[[Listener], Server]
    resolve: Callable[[Ref], Snapshot | None]
    wanted: Wanted = Wanted()  # noqa: RUF009 - a value, and frozen
    keep_unread: bool = False
    secrets: tuple[str, ...] = ()
    home: Path | None = None
    intercept: Transport | None = None
    overlay: bool = False
    replay: bool = True
    unsafe: str = "warn"
    failures: HubFailures = field(default_factory=HubFailures)
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Traced:
    """Result of a trace: the inferred recipe, and the observations that it is based on.

    `replay` is None if the recipe was not to be replayed. `unread`: bytes that were downloaded into the library and
    that no start opened.
    """

    inferred: Inferred
    observation: Observation
    seen: ObservedStart
    remarks: tuple[str, ...] = field(default=())
    replay: ReplayVerdict | None = None
    unread: int = 0

    def require_replayed(self, recipe: Path) -> None:
        """Raise NotReplayed if the recipe was replayed and did not pass, or if it is empty although weights were read.

        `recipe` is its path, for the message.
        """
        if self.replay is not None:
            self.replay.require(recipe)
        if self.observation.outside and not self.inferred.lock.needs:
            one = self.observation.outside[0]
            more = len(self.observation.outside) - 1
            raise NotReplayed(
                f"{recipe} has no needs, but the app read {one.path}"
                + (f" and {say_count(more, 'more file')}" if more else ""),
                hint="put the weights into the app's folder or HOME, or name their repository in the recipe",
            )


def trace(app: App, name: str, library: Library, terms: TraceOptions, on_event: Listener) -> Traced:
    """Start `app` in its `cwd`, write its recipe and lock, and replay them.

    Raise AppError if the app fails, NoSpace if the disk of the library was full then, UsageError if the recipe cannot
    be written, Busy if another trace runs in the same folder. Files that the app downloaded through the mirror stay in
    the library.
    """
    library.prepare(0)
    sweep(library.root)
    folders = AppFolders.of(Path(app.cwd or "."), app.command, app.env or {}, terms.home)
    with alone_in(folders.app), fresh(library.root, TRACE) as workplace:
        bench = Workbench.open(folders, library.root, workplace, overlay=terms.overlay)
        if bench.how == IN_PLACE:
            on_event(Noted("trace", f"no overlay ({bench.reason}): what the app writes stays in its folders"))
        began, since = time.monotonic(), time.time()
        seen, observed, early = _observed(app, name, bench, workplace, library, terms, on_event)
        traced_s, observation = time.monotonic() - began, observed.observation
        inferred, fuller = (infer(observation, keep_unread=unread) for unread in (terms.keep_unread, True))
        # What the app did not open is stored for the replay only, which may need it.
        keep(fuller.lock, observed, library, bench.real, on_event, recorded=False)
        for one in observation.outside:
            on_event(Noted(one.path, f"read outside of the app's folder and home, {one.size} bytes: not in the recipe"))
        for file in keep(inferred.lock, observed, library, bench.real, on_event):
            on_event(Noted(file.path, f"not in the library: {file.size} bytes, {file.digest}"))
        first, last = list(early), list[str]()
        files = RecipeFiles(bench.outside(terms.path.absolute()))
        if said := files.keep_fuller(inferred.lock):
            on_event(Noted(terms.path.name, said))
            last.append(said)
        inferred = verified_as(inferred, NOT_REPLAYED)
        shared, hidden = _without_secrets(inferred, terms.secrets)
        if hidden:
            said = f"The command contains a secret, which is not kept: {', '.join(hidden)}. {_INSTEAD}"
            on_event(Noted(terms.path.name, said))
            first.insert(0, said)
        remarks = (*first, *_remarks(inferred, observation, seen), *last)
        files.write(shared, remarks)
        _note_start(name, seen, terms, bench)
        if not terms.replay:
            unread = note_unread(inferred.lock, fuller.lock, library, since)
            return Traced(shared, observation, seen, remarks, unread=unread)
        replays = _replays(seen, traced_s, app, library, terms, bench, on_event)
        if early:
            verdict = replays.ended_early()
        else:
            terms.wanted.forget()

            def missing(replayed: Replayed) -> tuple[MissingFile, ...]:
                return missing_files(inferred, observation, seen.notes, replayed)

            def reading(replayed: Replayed) -> Inferred:
                return infer(also_opened(observation, replayed.opened), keep_unread=terms.keep_unread)

            inferred, verdict = replays.verdict(inferred, fuller, terms.path, missing, reading, observation.had)
            # The replay may have put back files that were left out.
            remarks = (*first, *_remarks(inferred, observation, seen), *last)
            keep(inferred.lock, observed, library, bench.real, on_event)
        # The replay has the secrets, which are in no file.
        shared, _ = _without_secrets(verified_as(inferred, verdict.verified), terms.secrets)
        files.write(shared, remarks)
        return Traced(
            shared, observation, seen, remarks, verdict, note_unread(inferred.lock, fuller.lock, library, since)
        )


def _note_start(name: str, seen: ObservedStart, terms: TraceOptions, bench: Workbench) -> None:
    if seen.imports is not None and seen.ready_s is not None and terms.state is not None:
        spent = seen.imports.interpreter_s, seen.imports.seconds
        parts = StartParts(TRACED, seen.began, seen.ready_s, *spent, slowest=slowest(seen.imports))
        recipe = terms.path.absolute()
        StartNotes(bench.outside(terms.state)).write(name, recipe, recipe.parent, [parts])


_INSTEAD = "The app does not start with this recipe until it reads the secret from a variable or a file."


def _without_secrets(inferred: Inferred, own: tuple[str, ...]) -> tuple[Inferred, tuple[str, ...]]:
    """Return a recipe without secrets in its command and its first use, and what each of them was."""
    command, hidden = without_secrets(inferred.recipe.command, own)
    kind, colon, text = inferred.recipe.first.partition(":")
    words, more = without_secrets(shlex.split(text), own)
    first = f"{kind}{colon}{shlex.join(words)}" if more else inferred.recipe.first
    return replace(inferred, recipe=replace(inferred.recipe, command=command, first=first)), (*hidden, *more)


def _replays(
    seen: ObservedStart,
    traced_s: float,
    app: App,
    library: Library,
    terms: TraceOptions,
    bench: Workbench,
    on_event: Listener,
) -> Replays:
    # Stopped by the user: the replay needs to run no longer than the traced start did.
    by_hand = terms.wanted.stopped()
    watch = replace(terms.watch, within_s=patience_s(traced_s, terms.watch.within_s))
    enough_s = min(traced_s - (seen.ready_s or 0.0), _BY_HAND_AT_MOST_S) if by_hand else None
    setting = ReplaySetting(library, choose_view, app.env or {}, terms.home, watch, enough_s, terms.unsafe)
    return Replays(bench, setting, terms.wanted, on_event)


def _observed(
    app: App,
    name: str,
    bench: Workbench,
    workplace: Path,
    library: Library,
    terms: TraceOptions,
    on_event: Listener,
) -> tuple[ObservedStart, Observed, tuple[str, ...]]:
    """Start the app under observation; return what was seen, and a remark if the user ended that early."""
    recorder, environ = Recorder(on_event, terms.failures), app.env or {}
    caches = traced_caches(environ, terms.home, workplace, covered=bench.how == OVERLAY)
    with contextlib.ExitStack() as until:
        covered = bench.how == OVERLAY
        proxy = until.enter_context(intercept(terms.intercept, environ, workplace, own_mounts=covered))
        app = app._replace(env={**environ, **proxy.environ})
        lead = until.enter_context(led(terms.mirror(recorder), app.env or {}, workplace))
        try:
            seen = traced_start(app, workplace, lead, terms.watch, recorder, terms.wanted, caches)
        except AppError as error:
            bench.require_room(error)
            for one in reached(noted(workplace)):
                by = " < ".join(one.modules) or "the app"
                on_event(Noted(f"{one.host}:{one.port}", f"connection attempts: {one.count}, from {by}"))
            raise
        finally:
            if lead.no_tls and any(hub_of_host(aim.host) == MODELSCOPE for aim in noted(workplace).aims):
                on_event(bypassed(lead.no_tls))
        for host in proxy.rejected:
            on_event(Noted(host, "not intercepted: its client trusts no authority but its own"))
        bodies = workplace / "notes" / "bodies"
        folder = terms.path.absolute().parent
        written = bench.written()
        _say_much(written, bench, on_event)
        subject = TracedApp(name, folder, app.command, terms.watch.first, environ, written, bodies)
        asking = Asking(terms.resolve, terms.wanted)
        observed = observe(seen, subject, library, asking, terms.wanted.hurried)
    if not asking.cut_short and not terms.wanted.hurried():
        return seen, observed, ()
    said = "Ended early: not every hub was asked, and not every file was compared. Needs may be missing."
    on_event(Noted(terms.path.name, said))
    return seen, observed, (said,)


def _say_much(written: Sequence[str], bench: Workbench, on_event: Listener) -> None:
    """Report a start that wrote very much: it may be logs, or caches that no later start reads."""
    size = 0
    for path in written:
        with contextlib.suppress(OSError):
            size += bench.real(path).stat().st_size
    if size > _MUCH:
        kept = "what the recipe does not need is dropped" if bench.how == OVERLAY else "it stays in the app's folders"
        on_event(Noted("trace", f"the start wrote {say_size(size)} in {say_count(len(written), 'file')}; {kept}"))


def _remarks(inferred: Inferred, observation: Observation, seen: ObservedStart) -> tuple[str, ...]:
    """Return the remarks for the head of the recipe: how it was found, and what may be missing."""
    places = PortablePlaces.of(observation)
    day = datetime.now(UTC).date().isoformat()
    remarks = [f"Found by preheat trace on {day}, from one start. Files that only later use needs are not in it."]
    if not seen.notes.processes:
        remarks.append("No Python process was observed: none ran, or all ran with -I, -E or an empty environment.")
    if not observation.sees_native:
        remarks.append("Files opened by native code may be missed (/proc was polled), so no unread file was left out.")
    remarks += [
        f"hardly read: {places.shorten(one.path)}: {one.read} of {one.size} bytes"
        for one in observation.opened
        if one.read is not None and one.size >= LARGE and one.read < _HARDLY * one.size
    ]
    for pinned in inferred.lock.needs:
        place, why = permission_for(pinned.need, pinned.snapshot)
        if place:
            remarks.append(f"{pinned.need.ref}: preheat pull and run need --allow-place {place}: {why}")
    remarks += [f"left out: {one.what}: {one.size / 1e6:.1f} MB, {one.reason}" for one in inferred.left_out]
    remarks += [
        f"connection attempts: {one.count} to {one.host} port {one.port}, from {' < '.join(one.modules) or 'the app'}"
        for one in observation.reached
    ]
    return tuple(remarks)
