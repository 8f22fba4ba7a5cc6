"""Timed starts: start one app under each condition of a proof."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from preheat.core.cache_variables import CACHE_VARIABLES
from preheat.core.errors import AppError
from preheat.core.events import Event, Listener, Noted, Placed
from preheat.core.ref import MADE
from preheat.core.snapshot import File
from preheat.core.values.replace import replace
from preheat.guard.model.app import App
from preheat.guard.witness.connections import Witness
from preheat.library.library import Library
from preheat.proof.conditions.environment_eviction import EnvironmentEviction
from preheat.proof.conditions.page_cache_eviction import EvictionResult, evict, fill
from preheat.proof.conditions.validity import require_evicted, require_fetched, require_own_weights
from preheat.proof.limits.bare_imports import BareImports
from preheat.proof.start.folder_growth import FolderGrowth
from preheat.proof.start.gpu import Gpus
from preheat.proof.start.import_times import outermost_names
from preheat.proof.start.observer import ObservedResources
from preheat.proof.start.pull_times import PullClock
from preheat.proof.start.thaw import UNCOUNTED, Thaw
from preheat.proof.start.timeline import COLD, PRELOADED, RESTART, THAWED, Timeline
from preheat.proof.start.trial import Instruments, TimedStart, restart_once, start_once
from preheat.recipes.app_python import AppPython
from preheat.recipes.offline_env import offline, online
from preheat.recipes.places import split_place
from preheat.recipes.recipe import Recipe
from preheat.verbs.local_hub import Lead, library_hub, needs_alone
from preheat.verbs.locked_needs import all_required
from preheat.verbs.placing.allowed_places import NO_PERMISSION, Permissions
from preheat.verbs.proving.heartbeat import Doing, untold
from preheat.verbs.proving.placed_files import Known, built_files, lasting_places
from preheat.verbs.proving.start_folder import AppEnvironment, StartFolder
from preheat.verbs.proving.start_timeline import timeline_of
from preheat.verbs.run import mapping_weights, stopwatch, witness_for
from preheat.verbs.view import place_needs
from preheat.views.view_protocol import View


class Starts:
    """Starts the app of `recipe`, without preheat and with it, and measures each start.

    `imported`: the app's Python and the modules that it imports, known after the first start. `copied`: bytes that the
    last views had to copy. `known`: the needs with their files, as far as known.
    """

    def __init__(
        self,
        recipe: Recipe,
        surroundings: AppEnvironment,
        view_of: Callable[[str], View],
        on_event: Listener,
        gpus: Gpus | None = None,
        permissions: Permissions = NO_PERMISSION,
        known: Known = (),
        *,
        doing: Doing = untold,
    ) -> None:
        self.recipe = recipe
        self.known = known
        self.imported: tuple[str, tuple[str, ...]] = ("", ())
        self.copied = 0
        self._pythons: set[str] = set()
        self.eviction = EnvironmentEviction()
        self._around = surroundings
        self.view_of, self._on_event, self._gpus, self._doing = view_of, on_event, gpus, doing
        # Starts use the proof's own library; the proof restores the user's files afterwards.
        self._permissions = Permissions(permissions.replace, permissions.keep, permissions.places, relink=True)

    def cold(self, roots: StartFolder, library: Library) -> tuple[Timeline, set[str]]:
        """Start with empty caches, as in a new container. Return its timeline and the files that it used and found."""
        around = self._around
        environ = online(around.environ, without=CACHE_VARIABLES) | self._own(roots) | dict(around.endpoints)
        self._evict([])
        recipe = self.recipe.at_places(environ)
        built = built_files(recipe, self.known, library, self.view_of, self._permissions)
        growth = FolderGrowth([roots.caches, *lasting_places(recipe)], [roots.notes, *built])
        started, witness = self._start(environ | dict(around.secrets), roots, ObservedResources(growth=growth))
        archives = sum(need.archive_size or 0 for need, _ in self.known)
        timeline = timeline_of(COLD, started, witness, growth.size + archives)
        for folder in growth.outside:
            said = "the cold start left new files there, which the next may find; give their need an `at` there"
            self._on_event(Noted(str(folder), said))
        used = started.seen.in_use - growth.seen_elsewhere if started.seen else set()
        return replace(timeline, downloading=started.downloading), used

    def require_cold(self, timeline: Timeline, in_use: set[str], roots: Path, files: Sequence[File]) -> None:
        """Raise CheckFailed if a start was not cold: it downloaded too little, or used weights from other folders.

        `files` are those that the app downloads.
        """
        own = lasting_places(self.recipe)
        require_own_weights(in_use, [roots, *own], files)
        require_fetched(timeline.traffic.fetched, sum({file.digest: file.size for file in files}.values()))

    def rehearse(self, roots: StartFolder, library: Library) -> None:
        """Start once, offline and not measured, to let the first start build the files that all later ones use.

        It also shows which Python the app runs.
        """
        environ = self._offline(roots, library)
        roots.notes.mkdir(parents=True, exist_ok=True)
        instruments = Instruments(notes=roots.notes, tell=self._doing)
        with self._hub(library, environ) as lead:
            app = self._app({**environ, **stopwatch(environ, roots.notes)}, lead)
            self._doing("starting")
            self._learn(start_once(app, self.recipe.first, self._around.ready_within_s, instruments))

    def preloaded(self, roots: StartFolder, library: Library, clock: PullClock, fetched: int) -> Timeline:
        """Start offline from the pulled files, after evicting them from the page cache."""
        began = time.monotonic()
        environ = self._offline(roots, library)
        pulled = clock.pulled(time.monotonic() - began)
        weights = self._weights(library)
        evicted = self._evict([library.root])
        require_evicted(evicted, "the weights")
        with self._hub(library, environ) as lead:
            started, witness = self._start(environ, roots, ObservedResources(weights), lead=lead)
        timeline = timeline_of(PRELOADED, started, witness, fetched)
        read = max(0, timeline.memory.page_cache - evicted.stayed)
        spans = started.seen.reading() if started.seen else ()
        until_ready = started.seen.read_until(started.ready_s) - evicted.stayed if started.seen else 0
        reading = replace(timeline.reading, spans=spans, size=read, until_ready=min(max(0, until_ready), read))
        return replace(timeline, pulled=pulled, stayed=evicted.share, reading=reading)

    def warm(self, condition: str, roots: StartFolder, library: Library) -> Timeline:
        """Start with all files in the page cache; for RESTART, kill the app once and measure the restart."""
        environ = self._offline(roots, library)
        weights = self._weights(library)
        self._fill(library)
        start = restart_once if condition == RESTART else start_once
        with self._hub(library, environ) as lead:
            started, witness = self._start(environ, roots, ObservedResources(weights), start, lead)
        return timeline_of(condition, started, witness, 0)

    def thawed(self, roots: StartFolder, library: Library) -> Timeline:
        """Start once, save the ready app's memory, evict it and all files from the page cache, and restore it."""
        environ = self._offline(roots, library)
        python = AppPython.of({**environ, **self.recipe.env}, self.recipe.folder, self.recipe.command)
        code = [str(one) for one in (self.recipe.folder, python.site_packages) if one is not None]
        memory = roots.folder / "memory"
        thaw = Thaw.of(self._around.environ, memory, code, lambda: self._evict([library.root, memory]))
        subject = ObservedResources(self._weights(library))
        environ |= mapping_weights(environ)
        started, witness = self._start(environ, roots, subject, thaw.start, counted=False)
        return timeline_of(THAWED, started, witness, 0)

    def unwatched(self, roots: StartFolder, library: Library, recipe: Recipe | None = None) -> float:
        """Start warm, observed only by the ready probe; return the seconds until it was ready.

        All needs are placed, or only those of `recipe`.
        """
        environ = self._offline(roots, library, recipe)
        self._fill(library)
        with self._hub(library, environ) as lead:
            self._doing("starting unobserved")
            return start_once(self._app(environ, lead), "", self._around.ready_within_s).ready_s

    def without_made(self, roots: StartFolder, library: Library) -> float | None:
        """Start warm as `unwatched`, but without the made files, which this start has to make; None if it fails."""
        recipe = replace(self.recipe, needs=tuple(need for need in self.recipe.needs if need.ref.hub != MADE))
        try:
            return self.unwatched(roots, library, recipe)
        except AppError:
            return None

    def bare_imports(self, bare_imports: BareImports, roots: StartFolder, *, evicted: bool) -> tuple[float, ...]:
        """Time the app's Python with only these imports, with its environment cached or evicted from the page cache."""
        environ = online(self._around.environ, without=CACHE_VARIABLES) | self._own(roots)
        if evicted:
            self._evict([])
        self._doing("importing its modules alone")
        took = bare_imports.time(offline(environ) | self.recipe.env, str(self.recipe.folder))
        return () if took is None else (took,)

    def _offline(self, roots: StartFolder, library: Library, recipe: Recipe | None = None) -> dict[str, str]:
        """Return the variables of an offline start, and place the needs, or only those of `recipe`."""
        self.copied = 0
        environ = {name: value for name, value in offline(self._around.environ).items() if name not in CACHE_VARIABLES}
        environ |= self._own(roots) | dict(self._around.endpoints)
        recipe = (recipe or self.recipe).at_places(environ)
        return environ | place_needs(
            recipe, library, self.view_of, self._tell, roots.folder / "views", self._permissions
        )

    def _own(self, roots: StartFolder) -> dict[str, str]:
        """Return the variables for a start's own caches, and for its own home if a need is placed in the home."""
        named = {split_place(need.at)[0] for need in self.recipe.needs}
        return roots.environ() | roots.homes(self._around.environ, named)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Placed):
            self.copied += event.copied
        self._on_event(event)

    def _start(
        self,
        environ: Mapping[str, str],
        roots: StartFolder,
        subject: ObservedResources,
        start: Callable[..., TimedStart] = start_once,
        lead: Lead | None = None,
        *,
        counted: bool = True,
    ) -> tuple[TimedStart, Witness | str]:
        """Start the app under observation; return the start and its witness, or the reason why there is no witness."""
        roots.caches.mkdir(parents=True, exist_ok=True)
        roots.notes.mkdir(parents=True, exist_ok=True)
        app = self._app({**environ, **stopwatch(environ, roots.notes)}, lead)
        witness: Witness | str
        try:
            witness = witness_for(app) if counted else UNCOUNTED
        except AppError as error:
            witness = error.message

        seeing = None if isinstance(witness, str) else witness
        # Do not wait after a cold start, which may go online, or if attempts cannot be counted.
        observe_s = self._around.observe_s if seeing is not None and subject.growth is None else 0.0
        instruments = Instruments(seeing, roots.notes, replace(subject, gpus=self._gpus), self._doing, observe_s)
        growth = subject.growth
        self._doing("starting", None if growth is None else lambda: growth.size)
        started = start(app, self.recipe.first, self._around.ready_within_s, instruments)
        if not isinstance(witness, str):
            witness.close()
        self._learn(started)
        return started, witness

    def _learn(self, started: TimedStart) -> None:
        if started.notes:
            self.imported = outermost_names(list(started.notes), started.began, started.ready_s)
            self._pythons |= {one.python for one in started.notes if one.python}

    def _app(self, environ: Mapping[str, str], lead: Lead | None = None) -> App:
        app = App(self.recipe.command, {**environ, **self.recipe.env}, str(self.recipe.folder), self.recipe.ready)
        return app if lead is None else lead.around(app)

    @contextlib.contextmanager
    def _hub(self, library: Library, environ: Mapping[str, str]) -> Iterator[Lead | None]:
        """Serve the library to an app that asks its hub at each start, as `run` does; None for other apps."""
        if not self.recipe.hub:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="preheat-needs-") as folder:
            served = needs_alone(all_required(self.recipe, library), library, Path(folder))
            with library_hub(served, environ, "warn", self._on_event) as lead:
                yield lead

    def _evict(self, folders: Sequence[Path]) -> EvictionResult:
        """Evict the folders and the app's environment from the page cache; return the result for the folders."""
        self._doing("evicting its files from the page cache")
        self.eviction.evict(self._interpreter())
        return evict(folders)

    def _fill(self, library: Library) -> None:
        self._doing("reading its files into the page cache")
        fill([library.root, *self._interpreter()])

    def _weights(self, library: Library) -> list[Path]:
        digests = {file.digest for _, snapshot in all_required(self.recipe, library) for file in snapshot.files}
        return [library.path(digest) for digest in digests]

    def _interpreter(self) -> list[Path]:
        return list(self.environments)

    @property
    def environments(self) -> tuple[Path, ...]:
        """Return the Python environments that belong to the app alone: those that it ran, or that its command names."""
        environ = {**self._around.environ, **self.recipe.env}
        named = AppPython.of(environ, self.recipe.folder, self.recipe.command).prefix
        ran = (Path(python).parent.parent for python in sorted(self._pythons))
        return tuple(dict.fromkeys(one for one in (*ran, *([named] if named else [])) if _is_environment(one)))


def _is_environment(prefix: Path) -> bool:
    """Return whether a folder is a virtual environment or one of conda, and no Python of the whole machine."""
    return (prefix / "pyvenv.cfg").is_file() or (prefix / "conda-meta").is_dir()
