"""Prove: start an app cold, preloaded, warm and after a crash, in each round, and report the gain."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from preheat.core.errors import HubError, UsageError
from preheat.core.events import Listener, TrialStarted
from preheat.core.ref import MADE
from preheat.core.snapshot import File, Snapshot
from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
from preheat.library.library import Library
from preheat.proof.conditions.app_folder import untouched
from preheat.proof.conditions.page_cache_eviction import drop_all_caches
from preheat.proof.conditions.scratch_folder import fresh, sweep
from preheat.proof.limits.bare_imports import BareImports
from preheat.proof.limits.disk_speed import measure_speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.report import Imitated, MachineLimits, Report
from preheat.proof.start.folder_growth import FolderGrowth
from preheat.proof.start.gpu import Gpus
from preheat.proof.start.pull_times import PullClock
from preheat.proof.start.timeline import COLD, CONDITIONS, PRELOADED, RESTART, WARM, Timeline
from preheat.proof.start.trial import read_first
from preheat.recipes.optional_needs import UnlessOptional
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.locked_needs import all_required
from preheat.verbs.placing.allowed_places import NO_PERMISSION, Permissions
from preheat.verbs.proving.timed_starts import AppEnvironment, StartFolder, Starts, lasting_places
from preheat.views.view_protocol import View


@dataclass(frozen=True, slots=True)
class ProveOptions:
    """Options of a proof: number of rounds, conditions, and the app's environment.

    `workplace`: a folder for temporary libraries and caches, which are removed afterwards. `pull`: downloads a need
    into a library, emits events to the listener, and returns the bytes received from the network, including API
    responses. `line`: measures the connection to the hub of a need. `drop_caches`: drop the page cache of the whole
    machine before each cold or preloaded start. `permissions`: how to treat the user's files in the app's folders; the
    proof restores them when it ends.
    """

    rounds: int
    surroundings: AppEnvironment
    workplace: Path
    pull: Callable[[Need, Library, Listener], int]
    line: Callable[[Need, Snapshot], Line]
    conditions: tuple[str, ...] = CONDITIONS
    drop_caches: bool = False
    imitated: Imitated | None = None
    machine: Mapping[str, object] = field(default_factory=dict)
    permissions: Permissions = NO_PERMISSION


@dataclass(slots=True)
class _Results:
    """Results collected over all rounds."""

    timelines: list[Timeline] = field(default_factory=list)
    unwatched: list[float] = field(default_factory=list)
    limits: MachineLimits = field(default_factory=MachineLimits)
    weights: int = 0
    copies: float | None = None


def prove(recipe: Recipe, terms: ProveOptions, view_of: Callable[[str], View], on_event: Listener) -> Report:
    """Start the app under each condition in each round, and return the report. Raise CheckFailed for invalid starts.

    Before every cold and preloaded start, the app's virtual environment and the weights are evicted from the page
    cache, because one condition must not profit from files that another one has read.
    """
    _check(recipe, terms)
    sweep(terms.workplace)
    results = _Results()
    with Gpus() as gpus:
        starts = Starts(recipe, terms.surroundings, view_of, on_event, gpus, terms.permissions)
        for round_ in range(1, terms.rounds + 1):
            _round(round_, starts, terms, results, on_event)
        names = gpus.names
    return Report(
        timelines=tuple(results.timelines),
        weights=results.weights,
        app=recipe.name,
        limits=results.limits,
        unwatched=tuple(results.unwatched),
        copies=results.copies,
        imitated=terms.imitated,
        machine=terms.machine,
        gpus=names,
    )


def _round(round_: int, starts: Starts, terms: ProveOptions, results: _Results, on_event: Listener) -> None:
    def begin(what: str) -> None:
        on_event(TrialStarted(what, round_, terms.rounds))
        if terms.drop_caches and what in (COLD, PRELOADED):
            drop_all_caches()

    used: set[str] = set()
    if COLD in terms.conditions:
        begin(COLD)
        # Files that a start leaves in the app's folder must not be there for the next one.
        with fresh(terms.workplace) as folder, _untouched(starts.recipe):
            timeline, used = starts.cold(StartFolder(folder))
            results.timelines.append(timeline)
    if set(terms.conditions) == {COLD}:
        results.weights = max(results.weights, results.timelines[-1].traffic.fetched)
        return
    with fresh(terms.workplace) as folder, _untouched(starts.recipe):
        begin(PRELOADED if PRELOADED in terms.conditions else "pull")
        library = Library(folder / "library")
        # Files placed from the user's library do not count as the user's own files.
        library.marks.read_also(terms.workplace / "placed")
        received, clock = _pull(starts, library, terms, on_event)
        snapshots = all_required(starts.recipe, library)
        files = [file for _, snapshot in snapshots for file in snapshot.files]
        results.weights = sum(snapshot.size for _, snapshot in snapshots)
        if COLD in terms.conditions:
            starts.require_cold(results.timelines[-1], used, terms.workplace, files)
        if PRELOADED in terms.conditions:
            with fresh(folder) as home:
                results.timelines.append(starts.preloaded(StartFolder(home), library, clock, received))
            results.copies = _copies(library.root, starts.copied, results.weights)
        if WARM in terms.conditions:
            begin(WARM)
            with fresh(folder) as home:
                results.timelines.append(starts.warm(WARM, StartFolder(home), library))
            with fresh(folder) as home:
                results.unwatched.append(starts.unwatched(StartFolder(home), library))
        if RESTART in terms.conditions:
            begin(RESTART)
            with fresh(folder) as home:
                results.timelines.append(starts.warm(RESTART, StartFolder(home), library))
        begin("limits")
        results.limits = _limits(results.limits, starts, terms, library, snapshots, files)


def _untouched(recipe: Recipe) -> contextlib.AbstractContextManager[None]:
    return untouched(lasting_places(recipe), recipe.folder)


def _pull(starts: Starts, library: Library, terms: ProveOptions, on_event: Listener) -> tuple[int, PullClock]:
    """Pull the needs. Optional ones that no hub has are left out of this and all later starts."""
    clock, received, pulled = PullClock(on_event), 0, []
    for need in starts.recipe.needs:
        with UnlessOptional(need, on_event):
            received += terms.pull(need, library, clock)
            pulled.append(need)
        clock.ended()
    starts.recipe = replace(starts.recipe, needs=tuple(pulled))
    return received, clock


def _limits(
    before: MachineLimits,
    starts: Starts,
    terms: ProveOptions,
    library: Library,
    snapshots: Sequence[tuple[Need, Snapshot]],
    files: Sequence[File],
) -> MachineLimits:
    """Measure the limits of this machine: network and disk in the first round, the app's imports in every round."""
    line, speed = before.line, before.speed
    if line is None:
        # Members of archives, and what an app's start made, are on no hub.
        listed = [one for one in snapshots if not one[0].unpack and one[0].ref.hub != MADE]
        with contextlib.suppress(HubError):
            line = terms.line(*max(listed, key=lambda one: one[1].size)) if listed else None
    if speed is None:
        paths = [library.path(file.digest) for file in {file.digest: file for file in files}.values()]
        speed = measure_speed(paths)
    python, names = starts.imported
    bare_imports = replace(before, line=line, speed=speed)
    if not python:
        return bare_imports
    with fresh(terms.workplace) as folder:
        interpreter = starts.bare_imports(BareImports(python, ()), StartFolder(folder), evicted=True)
        imports = starts.bare_imports(BareImports(python, names), StartFolder(folder), evicted=True)
        warm = starts.bare_imports(BareImports(python, names), StartFolder(folder), evicted=False)
    return replace(
        bare_imports,
        interpreter=(*before.interpreter, *interpreter),
        imports=(*before.imports, *imports),
        imports_warm=(*before.imports_warm, *warm),
    )


def _check(recipe: Recipe, terms: ProveOptions) -> None:
    """Raise UsageError for a recipe that cannot be proved, before any start."""
    if not recipe.command or not recipe.ready:
        raise UsageError(f"{recipe.name} has no start command or no ready probe", hint="set command and ready in [app]")
    if not recipe.needs:
        raise UsageError(f"{recipe.name} has no needs to preload", hint="add [[needs]] to its preheat.toml")
    try:
        parse_probe(recipe.ready, Tail(), env={**terms.surroundings.environ, **recipe.env}, cwd=str(recipe.folder))
    except ValueError as error:
        raise UsageError(str(error), hint="correct ready in [app]") from error
    if recipe.first:
        read_first(recipe.first)


def _copies(library: Path, copied: int, weights: int) -> float:
    """Return how many copies of the weights are on disk: bytes in the library and in views, per byte of weights."""
    return (FolderGrowth(library).size + copied) / weights if weights else 0.0
