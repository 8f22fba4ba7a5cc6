"""Prove: start an app cold, preloaded, warm and after a crash, in each round, and report the gain."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from preheat.core.errors import HubError, UsageError
from preheat.core.events import Listener, ProofPlanned, TrialStarted
from preheat.core.ref import MADE
from preheat.core.snapshot import Snapshot
from preheat.disk.free_space import disk_needs, require_space
from preheat.guard.model.tail import Tail
from preheat.guard.probes.probes import parse_probe
from preheat.library.library import Library
from preheat.proof.conditions.app_folder import untouched
from preheat.proof.conditions.page_cache_eviction import drop_all_caches
from preheat.proof.conditions.scratch_folder import fresh, sweep
from preheat.proof.limits.bare_imports import BareImports
from preheat.proof.limits.disk_speed import measure_speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.report import Imitated, MachineLimits, MadeNeed, Report
from preheat.proof.start.folder_growth import size_of
from preheat.proof.start.gpu import Gpus
from preheat.proof.start.pull_times import PullClock
from preheat.proof.start.timeline import COLD, EVERYWHERE, PRELOADED, THAWED, WARM, Timeline
from preheat.proof.start.trial import read_first
from preheat.recipes.optional_needs import UnlessOptional
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.locked_needs import all_required
from preheat.verbs.placing.allowed_places import NO_PERMISSION, Permissions
from preheat.verbs.proving.placed_files import Known, PlacedFiles, placed_files, tell_put_back
from preheat.verbs.proving.proof_plan import LIMITS, PULL, REHEARSAL, ProofClock, ProofPlan
from preheat.verbs.proving.start_folder import AppEnvironment, StartFolder
from preheat.verbs.proving.timed_starts import Starts
from preheat.views.view_protocol import View


@dataclass(frozen=True, slots=True)
class ProveOptions:
    """Options of a proof: number of rounds, conditions, and the app's environment.

    `workplace`: a folder for temporary libraries and caches, which are removed afterwards. `journals`: a folder in the
    user's state that records which of their files are set aside. `find`: resolves a need without downloading it; None
    for members of an archive that are not known yet. `pull`: downloads a need into a library, emits events to the
    listener, and returns the bytes received from the network, including API responses. `line`: measures the connection
    to the hub of a need. `drop_caches`: drop the page cache of the whole machine before each cold or preloaded start.
    `permissions`: how to treat the user's files in the app's folders; the proof restores them when it ends. `start_s`:
    how long earlier starts of the app took, None if that is not known.
    """

    rounds: int
    surroundings: AppEnvironment
    workplace: Path
    journals: Path
    find: Callable[[Need], Snapshot | None]
    pull: Callable[[Need, Library, Listener], int]
    line: Callable[[Need, Snapshot], Line]
    conditions: tuple[str, ...] = EVERYWHERE
    drop_caches: bool = False
    imitated: Imitated | None = None
    machine: Mapping[str, object] = field(default_factory=dict)
    permissions: Permissions = NO_PERMISSION
    start_s: float | None = None


@dataclass(slots=True)
class _Results:
    """Results collected over all rounds."""

    timelines: list[Timeline] = field(default_factory=list)
    unwatched: list[float] = field(default_factory=list)
    unmade: list[float | None] = field(default_factory=list)
    limits: MachineLimits = field(default_factory=MachineLimits)
    weights: int = 0
    copies: float | None = None


@dataclass(frozen=True, slots=True)
class _Pulled:
    """A proof's library with the app's needs, the bytes received for it, and the times of the pull."""

    library: Library
    received: int
    clock: PullClock


def prove(recipe: Recipe, terms: ProveOptions, view_of: Callable[[str], View], on_event: Listener) -> Report:
    """Start the app under each condition in each round, and return the report. Raise CheckFailed for invalid starts.

    Before every cold and preloaded start, the app's virtual environment and the weights are evicted from the page
    cache, because one condition must not profit from files that another one has read. Raise HubError for needs that no
    hub has, and NoSpace, before anything is started.
    """
    _check(recipe, terms)
    sweep(terms.workplace)
    tell_put_back(terms.journals, on_event)
    recipe, known = _known(recipe, terms, on_event)
    listed = [one for one in known if not one[0].unpack and one[0].ref.hub != MADE]
    results = _Results()
    with contextlib.suppress(HubError):
        line = terms.line(*max(listed, key=lambda one: one[1].size)) if listed else None
        results.limits = replace(results.limits, line=line)
    clock = ProofClock(_plan(terms, known, results.limits.line))
    require_space(disk_needs([(terms.workplace, clock.plan.space)]))
    on_event(ProofPlanned(clock.plan.starts, clock.plan.downloads, clock.plan.size, clock.left_s))
    with Gpus() as gpus:
        starts = Starts(recipe, terms.surroundings, view_of, on_event, gpus, terms.permissions, known)
        for round_ in range(1, terms.rounds + 1):
            _Round(round_, starts, terms, results, clock, on_event).run()
        names = gpus.names
    return Report(
        timelines=tuple(results.timelines),
        weights=results.weights,
        app=recipe.name,
        limits=results.limits,
        unwatched=tuple(results.unwatched),
        unmade=tuple(results.unmade),
        copies=results.copies,
        imitated=terms.imitated,
        machine=terms.machine,
        gpus=names,
        environments=tuple(map(str, starts.eviction.always(starts.environments))),
        environment_stayed=starts.eviction.stayed,
        made=tuple(MadeNeed(str(need.ref), len(one.files), one.size) for need, one in known if need.ref.hub == MADE),
        rehearsed=clock.plan.rehearses,
    )


def _known(recipe: Recipe, terms: ProveOptions, on_event: Listener) -> tuple[Recipe, Known]:
    """Resolve the needs. Return the recipe without optional ones that no hub has, and the needs with known files."""
    needs, known = [], []
    for need in recipe.needs:
        with UnlessOptional(need, on_event):
            snapshot = terms.find(need)
            needs.append(need)
            known += [(need, snapshot)] if snapshot is not None else []
    return replace(recipe, needs=tuple(needs)), known


def _plan(terms: ProveOptions, known: Known, line: Line | None) -> ProofPlan:
    size = sum({file.digest: file.size for _, one in known for file in one.files}.values())
    one, many = (line.one, line.many) if line is not None else (None, None)
    makes, observe_s = any(need.ref.hub == MADE for need, _ in known), terms.surroundings.observe_s
    return ProofPlan(terms.rounds, terms.conditions, size, terms.start_s, one, many, observe_s, makes)


class _Round:
    """One round: a start under each condition, and the limits."""

    def __init__(
        self, number: int, starts: Starts, terms: ProveOptions, results: _Results, clock: ProofClock, on_event: Listener
    ) -> None:
        self._number, self._starts, self._terms = number, starts, terms
        self._results, self._clock, self._on_event = results, clock, on_event
        self._used: set[str] = set()

    def run(self) -> None:
        """Take all steps of the round."""
        terms = self._terms
        pulled: _Pulled | None = None
        with fresh(terms.workplace) as folder:
            for step in self._clock.plan.steps(self._number):
                self._on_event(TrialStarted(step, self._number, terms.rounds, self._clock.left_s))
                if terms.drop_caches and step in (COLD, PRELOADED):
                    drop_all_caches()
                began = time.monotonic()
                if step == COLD:
                    self._cold(pulled.library if pulled else Library(folder / "library"))
                elif step == PULL:
                    pulled = self._pull(folder)
                elif pulled is not None:
                    self._step(step, pulled, folder)
                self._clock.ended(step, time.monotonic() - began)
        if pulled is None:
            self._results.weights = max(self._results.weights, self._results.timelines[-1].traffic.fetched)

    def _cold(self, library: Library) -> None:
        files = self._placed(library)
        # Small files may be part of the app: a cold start finds them, as in a new container.
        with fresh(self._terms.workplace) as folder, self._untouched(files, files.weights):
            timeline, self._used = self._starts.cold(StartFolder(folder), library)
        self._results.timelines.append(timeline)
        if self._starts.known:
            self._require_cold(timeline)

    def _require_cold(self, timeline: Timeline) -> None:
        loaded = [one for need, one in self._starts.known if not need.unpack and need.ref.hub != MADE]
        files = [file for one in loaded for file in one.files]
        self._starts.require_cold(timeline, self._used, self._terms.workplace, files)

    def _pull(self, folder: Path) -> _Pulled:
        library = Library(folder / "library")
        # Files placed from the user's library do not count as the user's own files.
        library.marks.read_also(self._terms.workplace / "placed")
        clock, received, needs = PullClock(self._on_event), 0, []
        for need in self._starts.recipe.needs:
            with UnlessOptional(need, self._on_event):
                received += self._terms.pull(need, library, clock)
                needs.append(need)
            clock.ended()
        self._starts.recipe = replace(self._starts.recipe, needs=tuple(needs))
        self._starts.known = all_required(self._starts.recipe, library)
        self._results.weights = sum(snapshot.size for _, snapshot in self._starts.known)
        return _Pulled(library, received, clock)

    def _step(self, step: str, pulled: _Pulled, folder: Path) -> None:
        """Take a step that uses the files that were pulled."""
        starts, results, library = self._starts, self._results, pulled.library
        if step == LIMITS:
            results.limits = self._limits(library)
            return
        files = self._placed(library)
        with self._untouched(files, files.weights | files.in_the_way), fresh(folder) as home:
            if step == REHEARSAL:
                starts.rehearse(StartFolder(home), library)
            elif step == PRELOADED:
                timeline = starts.preloaded(StartFolder(home), library, pulled.clock, pulled.received)
                results.timelines.append(timeline)
                weights = results.weights
                results.copies = (size_of([library.root]) + starts.copied) / weights if weights else 0.0
            elif step == THAWED:
                results.timelines.append(starts.thawed(StartFolder(home), library))
            else:
                results.timelines.append(starts.warm(step, StartFolder(home), library))
                if step == WARM:
                    with fresh(folder) as other:
                        results.unwatched.append(starts.unwatched(StartFolder(other), library))
        if step == WARM and self._clock.plan.makes and None not in results.unmade:
            # In the app's own folders, the last start's made files are gone by now, and the user's are aside.
            with self._untouched(files, files.weights | files.in_the_way), fresh(folder) as home:
                results.unmade.append(starts.without_made(StartFolder(home), library))

    def _placed(self, library: Library) -> PlacedFiles:
        starts, permissions = self._starts, self._terms.permissions
        return placed_files(starts.recipe, starts.known, library, starts.view_of, permissions)

    def _untouched(self, files: PlacedFiles, away: frozenset[Path]) -> contextlib.AbstractContextManager[None]:
        return untouched(files.folders, self._terms.journals, self._starts.recipe.folder, files.paths, away)

    def _limits(self, library: Library) -> MachineLimits:
        """Measure the limits of this machine: the disk in the first round, the app's imports in every round."""
        before, starts = self._results.limits, self._starts
        speed = before.speed
        if speed is None:
            digests = dict.fromkeys(file.digest for _, one in starts.known for file in one.files)
            speed = measure_speed([library.path(digest) for digest in digests])
        python, names = starts.imported
        before = replace(before, speed=speed)
        if not python:
            return before
        with fresh(self._terms.workplace) as folder:
            interpreter = starts.bare_imports(BareImports(python, ()), StartFolder(folder), evicted=True)
            imports = starts.bare_imports(BareImports(python, names), StartFolder(folder), evicted=True)
            warm = starts.bare_imports(BareImports(python, names), StartFolder(folder), evicted=False)
        return replace(
            before,
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
