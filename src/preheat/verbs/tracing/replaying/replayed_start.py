"""Replayed start: start an app from its recipe and the library alone, with no network and a new HOME."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.errors import AppError, NoSpace, PreheatError
from preheat.core.events import Listener, NetworkSeen
from preheat.core.values.replace import replace
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import describe_exit
from preheat.guard.net.network_namespace import why_not
from preheat.guard.process.process import CannotStart, Process
from preheat.guard.witness.connections import Witness
from preheat.library.library import Library
from preheat.recipes.inference.trace_log import TraceLog, read_notes
from preheat.recipes.places import Places
from preheat.recipes.recipe import Recipe
from preheat.verbs.local_hub import Lead, library_hub, needs_alone
from preheat.verbs.locked_needs import all_required
from preheat.verbs.run import outbound_seen
from preheat.verbs.tracing.observing.observe import reached
from preheat.verbs.tracing.readiness import TraceWatch, Wanted, await_ready, settle, use_app
from preheat.verbs.tracing.replaying.replay_places import ViewOf, new_user, place_for_replay
from preheat.verbs.tracing.traced_start import TO_STDERR, logged, noted
from preheat.verbs.tracing.workbench import Ground

INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class ReplaySetting:
    """What a replay is made of: the library, the layouts by kind and ways to link, the user's environment and home.

    `watch`: when the app is ready, and its first use. `enough_s`: how many seconds to let the app run, if a user
    stopped its traced start by hand or it has no ready probe; None to run it until the first use ends, or the app does.
    `unsafe`: how the local hub handles unsafe files.
    """

    library: Library
    view_of: ViewOf
    environ: Mapping[str, str]
    home: Path | None
    watch: TraceWatch
    enough_s: float | None = None
    unsafe: str = "warn"


@dataclass(frozen=True, slots=True)
class Replayed:
    """How a replay went: `error` says why it failed, empty if it did not. `network` is None if calls are not counted.

    `worked`: the app started and was used, but may have tried to reach other hosts. `fatal`: nothing else can help.
    `seconds`: how long it took. `tail`: the app's last lines. `notes`: what its Pythons logged; `absent`: the paths
    that they opened in vain, and `opened` those that they read, in the form of `Places.shorten`. `refused`: the hosts
    that it asked the library's proxy for, which refused them.
    """

    error: str = ""
    worked: bool = False
    fatal: bool = False
    network: NetworkSeen | None = None
    tail: tuple[str, ...] = ()
    seconds: float = 0.0
    notes: TraceLog = field(default_factory=lambda: read_notes(()))
    absent: frozenset[str] = frozenset()
    opened: frozenset[str] = frozenset()
    refused: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Return whether the app started and was used, with 0 outbound attempts."""
        return not self.error


def why_no_proof() -> str:
    """Return why a start without network cannot be proved on this system; empty if it can."""
    reason, counting = why_not(), Witness.available()
    return f"{reason}, and attempts cannot be counted: {counting.reason}" if reason and not counting else ""


def replayed_start(
    recipe: Recipe, ground: Ground, setting: ReplaySetting, wanted: Wanted, on_event: Listener
) -> Replayed:
    """Start the app of `recipe`, whose needs are pinned, on `ground`; use it once, and stop it.

    A need without `link` is placed as a symlink. The app has no network if the system permits network namespaces;
    attempts to reach other hosts are counted, and fail the replay; loopback is free.
    """
    began = time.monotonic()
    workplace = ground.home.parent
    (workplace / "notes").mkdir()
    try:
        environ = new_user(setting.environ, ground, setting.home)
        environ = place_for_replay(recipe, ground, environ, setting.library, setting.view_of)
    except PreheatError as error:
        return Replayed(error.message, fatal=not isinstance(error, NoSpace), seconds=time.monotonic() - began)
    lead = Lead("")
    with contextlib.ExitStack() as until:
        app = _app(recipe, environ, ground, setting)
        if recipe.hub:
            served = needs_alone(all_required(recipe, setting.library), setting.library, workplace / "hub")
            lead = until.enter_context(library_hub(served, environ, setting.unsafe, on_event))
            app = lead.around(app)
        witness = Witness() if Witness.available() else None
        why, tail = _use(app, ground, setting, wanted, on_event, witness)
        seconds = time.monotonic() - began
    network, notes = None, noted(workplace)
    worked = not why
    if witness is not None:
        witness.close()
        network = outbound_seen(witness)
        why = _explained(why, network, notes)
    there, absent = _read(notes, Places.of(environ, ground.folder, app.command))
    refused = tuple(host for host, _ in lead.refused.most_common())
    return Replayed(why, worked, False, network, tail, seconds, notes, absent, there, refused)  # noqa: FBT003


def _app(recipe: Recipe, environ: Mapping[str, str], ground: Ground, setting: ReplaySetting) -> App:
    return App(
        tuple(map(ground.here, recipe.command)),
        {**environ, **logged(environ, ground.home.parent / "notes")},
        str(ground.folder),
        ground.here(setting.watch.ready),
        read_only=(str(setting.library.root / "blobs"),),
        isolated=not why_not(),
    )


def _read(notes: TraceLog, places: Places) -> tuple[frozenset[str], frozenset[str]]:
    """Return the paths that were opened for reading: those that exist, and the others."""
    found: tuple[set[str], set[str]] = (set(), set())
    for path in {access.path for access in notes.accesses if not access.wrote}:
        found[not os.path.exists(path)].add(places.shorten(path))  # noqa: PTH110 - thousands of them
    return frozenset(found[0]), frozenset(found[1])


def _use(
    app: App, ground: Ground, setting: ReplaySetting, wanted: Wanted, on_event: Listener, witness: Witness | None
) -> tuple[str, tuple[str, ...]]:
    """Start the app, use it and stop it; return why it failed, and its last lines."""
    began = counted = time.monotonic()
    watch = replace(setting.watch, ready=app.ready, first=ground.here(setting.watch.first))
    is_ready = not app.ready

    def stopped() -> bool:
        enough = setting.enough_s is not None and is_ready and time.monotonic() - counted > setting.enough_s
        return wanted.stopped() or enough

    try:
        process = Process(app, output=TO_STDERR, witness=witness)
    except CannotStart as error:
        return str(error), ()
    try:
        ready, ready_s = await_ready(process, watch, began, on_event, stopped, lost=_no_host)
        is_ready, counted = True, time.monotonic()
        if ready_s is not None and not stopped():
            if watch.first:
                use_app(watch, app._replace(ready=ready), process, stopped, lost=_no_host)
            settle(process, watch.settle_s, stopped)
        if wanted.stopped():
            return INTERRUPTED, ()
        if not process.alive() and process.status:
            return f"the app {describe_exit(process.status)} after it was ready", process.tail.lines(20)
    except AppError as error:
        return INTERRUPTED if wanted.stopped() else error.message, error.tail
    finally:
        process.signal(signal.SIGTERM)
        process.stop(10.0, wanted.hurried)
    return "", ()


def _no_host(_tail: Sequence[str]) -> None:
    """A replay has no network: that a host does not answer says nothing about the host."""


def _explained(why: str, network: NetworkSeen, notes: TraceLog) -> str:
    """Return why a start failed, with the hosts that the app tried to reach, which are the most likely cause."""
    online = _online(network, notes)
    if not why:
        return online
    return f"{why}; {online}" if network.outbound and why != INTERRUPTED else why


def _online(network: NetworkSeen, notes: TraceLog) -> str:
    """Return what an app did wrong on the network."""
    if network.outbound:
        # Without a network, the witness sees no names; the app's Pythons log them.
        named = [f"{one.host}, from {' < '.join(one.modules) or 'the app'}" for one in reached(notes)]
        return f"the app tried to reach {'; '.join((named or list(network.places))[:5])}"
    return "; ".join(network.blind_spots)
