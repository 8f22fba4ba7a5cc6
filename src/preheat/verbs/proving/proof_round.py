"""Proof round: one round of a proof: a start under each condition, and the limits of this machine."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.events import Listener, TrialStarted
from preheat.core.ref import MADE
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.library.library import Library
from preheat.proof.conditions.app_folder import untouched
from preheat.proof.conditions.page_cache_eviction import drop_all_caches
from preheat.proof.conditions.scratch_folder import fresh
from preheat.proof.limits.bare_imports import BareImports
from preheat.proof.limits.disk_speed import measure_speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.report.report import Imitated, MachineLimits
from preheat.proof.start.folder_growth import size_of
from preheat.proof.start.pull_times import PullClock
from preheat.proof.start.timeline import COLD, EVERYWHERE, PRELOADED, THAWED, WARM, Timeline
from preheat.recipes.optional_needs import UnlessOptional
from preheat.recipes.recipe import Need
from preheat.verbs.locked_needs import all_required
from preheat.verbs.placing.allowed_places import NO_PERMISSION, Permissions
from preheat.verbs.proving.heartbeat import Heartbeat, likely_least_most
from preheat.verbs.proving.placed_files import PlacedFiles, placed_files
from preheat.verbs.proving.proof_plan import LIMITS, PULL, REHEARSAL, Estimate, ProofClock
from preheat.verbs.proving.start_folder import AppEnvironment, StartFolder
from preheat.verbs.proving.timed_starts import Starts


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
class ProofResults:
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


@dataclass(slots=True)
class StepWatch:
    """The clock of a proof, and when its present step began."""

    clock: ProofClock
    began: float = field(default_factory=time.monotonic)

    def left(self) -> Estimate:
        """Return what is left by now."""
        return self.clock.left(time.monotonic() - self.began)


class Round:
    """One round: a start under each condition, and the limits."""

    def __init__(
        self,
        number: int,
        starts: Starts,
        terms: ProveOptions,
        results: ProofResults,
        watch: StepWatch,
        heartbeat: Heartbeat,
        on_event: Listener,
    ) -> None:
        self._number, self._starts, self._terms = number, starts, terms
        self._results, self._watch, self._clock, self._on_event = results, watch, watch.clock, on_event
        self._heartbeat = heartbeat
        self._used: set[str] = set()

    def run(self) -> None:
        """Take all steps of the round."""
        terms = self._terms
        pulled: _Pulled | None = None
        with fresh(terms.workplace) as folder:
            for step in self._clock.plan.steps(self._number):
                left = likely_least_most(self._clock.left())
                self._on_event(TrialStarted(step, self._number, terms.rounds, *left))
                began = self._watch.began = time.monotonic()
                self._heartbeat.now("preparing its folders")
                if terms.drop_caches and step in (COLD, PRELOADED):
                    drop_all_caches()
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
        self._heartbeat.now("pulling")
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
            self._heartbeat.now("measuring the disk")
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
