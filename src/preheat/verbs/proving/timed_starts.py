"""Timed starts: start one app under each condition of a proof."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from preheat.core.cache_variables import CACHE_VARIABLES, new_caches
from preheat.core.errors import AppError
from preheat.core.events import Event, Listener, Noted, Placed
from preheat.core.snapshot import File
from preheat.guard.model.app import App
from preheat.guard.witness.connections import Witness
from preheat.library.library import Library
from preheat.proof.conditions.page_cache_eviction import EvictionResult, evict, fill
from preheat.proof.conditions.validity import require_evicted, require_fetched, require_own_weights
from preheat.proof.limits.bare_imports import BareImports
from preheat.proof.start.folder_growth import FolderGrowth
from preheat.proof.start.gpu import Gpus
from preheat.proof.start.import_times import outermost_names, sum_up
from preheat.proof.start.observer import ObservedResources, ResourceUse
from preheat.proof.start.pull_times import PullClock
from preheat.proof.start.timeline import COLD, PRELOADED, RESTART, Memory, Timeline, Traffic, WeightReads
from preheat.proof.start.trial import Instruments, TimedStart, restart_once, start_once
from preheat.recipes.offline_env import offline, online
from preheat.recipes.places import DIR, HOME, SITE_PACKAGES, TMP, split_place
from preheat.recipes.recipe import Recipe
from preheat.verbs.local_hub import Lead, library_hub, needs_alone
from preheat.verbs.locked_needs import all_required
from preheat.verbs.placing.allowed_places import NO_PERMISSION, Permissions
from preheat.verbs.run import network_seen, stopwatch, witness_for
from preheat.verbs.view import place_needs
from preheat.views.view_protocol import View


@dataclass(frozen=True, slots=True)
class StartFolder:
    """The folder of one start, for its caches and import logs."""

    folder: Path

    @property
    def notes(self) -> Path:
        """Return the folder for import logs."""
        return self.folder / "notes"

    @property
    def caches(self) -> Path:
        """Return the folder that contains the app's caches."""
        return self.folder / "caches"

    def environ(self) -> dict[str, str]:
        """Return the environment variables that point to the caches."""
        return new_caches(self.caches)

    def homes(self, environ: Mapping[str, str], named: Collection[str]) -> dict[str, str]:
        """Create the home and temporary folder of this start, as far as needs name them; return their variables.

        Python still finds the packages in the user's own home.
        """
        found: dict[str, str] = {}
        for place, variable in ((HOME, "HOME"), (TMP, "TMPDIR")):
            if place in named:
                found[variable] = str(self.caches / place)
                (self.caches / place).mkdir(parents=True, exist_ok=True)
        if HOME in named and environ.get("HOME"):
            found["PYTHONUSERBASE"] = environ.get("PYTHONUSERBASE") or f"{environ['HOME']}/.local"
        return found


@dataclass(frozen=True, slots=True)
class AppEnvironment:
    """An app's environment: variables, hub endpoint variables, and the time limit until it is ready.

    `secrets`: variables with hub tokens, set for cold starts only. `observe_s`: how many seconds after first use
    outbound attempts of offline starts are counted.
    """

    environ: Mapping[str, str]
    endpoints: Mapping[str, str]
    ready_within_s: float
    secrets: Mapping[str, str] = field(default_factory=dict)
    observe_s: float = 30.0


def lasting_places(recipe: Recipe) -> list[Path]:
    """Return the folders of views that starts share: those in the app's folder and Python, and at absolute paths."""
    return [
        recipe.place_of(need) for need in recipe.needs if need.at and split_place(need.at)[0] in (DIR, SITE_PACKAGES)
    ]


class Starts:
    """Starts the app of `recipe`, without preheat and with it, and measures each start.

    `imported`: the app's Python and the modules that it imports, known after the first start. `copied`: bytes that the
    last views had to copy.
    """

    def __init__(
        self,
        recipe: Recipe,
        surroundings: AppEnvironment,
        view_of: Callable[[str], View],
        on_event: Listener,
        gpus: Gpus | None = None,
        permissions: Permissions = NO_PERMISSION,
    ) -> None:
        self.recipe = recipe
        self.imported: tuple[str, tuple[str, ...]] = ("", ())
        self.copied = 0
        self._around = surroundings
        self._view_of, self._on_event, self._gpus = view_of, on_event, gpus
        # Starts use the proof's own library; the proof restores the user's files afterwards.
        self._permissions = replace(permissions, relink=True)

    def cold(self, roots: StartFolder) -> tuple[Timeline, set[str]]:
        """Start with empty caches, as in a new container. Return the timeline and the files that the app used."""
        around = self._around
        environ = online(around.environ, without=CACHE_VARIABLES) | self._own(roots) | dict(around.endpoints)
        self._evict([])
        own = lasting_places(self.recipe)
        before = sum(FolderGrowth(folder).size for folder in own)
        started, witness = self._start(environ | dict(around.secrets), roots, ObservedResources(folder=roots.caches))
        fetched = FolderGrowth(roots.caches).size + sum(FolderGrowth(folder).size for folder in own) - before
        timeline = self._timeline(COLD, started, witness, fetched)
        return replace(timeline, downloading=started.downloading), started.seen.in_use if started.seen else set()

    def require_cold(self, timeline: Timeline, in_use: set[str], roots: Path, files: Sequence[File]) -> None:
        """Raise CheckFailed if a start was not cold: it downloaded too little, or used weights from other folders."""
        own = lasting_places(self.recipe)
        require_own_weights(in_use, [roots, *own], files)
        require_fetched(timeline.traffic.fetched, sum({file.digest: file.size for file in files}.values()))

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
        timeline = self._timeline(PRELOADED, started, witness, fetched)
        read = max(0, timeline.memory.page_cache - evicted.stayed)
        spans = started.seen.reading() if started.seen else ()
        reading = replace(timeline.reading, spans=spans, size=read)
        return replace(timeline, pulled=pulled, stayed=evicted.share, reading=reading)

    def warm(self, condition: str, roots: StartFolder, library: Library) -> Timeline:
        """Start with all files in the page cache; for RESTART, kill the app once and measure the restart."""
        environ = self._offline(roots, library)
        weights = self._weights(library)
        fill([library.root, *self._interpreter()])
        start = restart_once if condition == RESTART else start_once
        with self._hub(library, environ) as lead:
            started, witness = self._start(environ, roots, ObservedResources(weights), start, lead)
        return self._timeline(condition, started, witness, 0)

    def unwatched(self, roots: StartFolder, library: Library) -> float:
        """Start warm, observed only by the ready probe; return the seconds until it was ready."""
        environ = self._offline(roots, library)
        fill([library.root, *self._interpreter()])
        with self._hub(library, environ) as lead:
            return start_once(self._app(environ, lead), "", self._around.ready_within_s).ready_s

    def bare_imports(self, bare_imports: BareImports, roots: StartFolder, *, evicted: bool) -> tuple[float, ...]:
        """Time the app's Python with only these imports, with its environment cached or evicted from the page cache."""
        environ = online(self._around.environ, without=CACHE_VARIABLES) | self._own(roots)
        if evicted:
            self._evict([])
        took = bare_imports.time(offline(environ) | self.recipe.env, str(self.recipe.folder))
        return () if took is None else (took,)

    def _offline(self, roots: StartFolder, library: Library) -> dict[str, str]:
        self.copied = 0
        environ = {name: value for name, value in offline(self._around.environ).items() if name not in CACHE_VARIABLES}
        environ |= self._own(roots) | dict(self._around.endpoints)
        recipe = self.recipe.at_places(environ)
        return environ | place_needs(
            recipe, library, self._view_of, self._tell, roots.folder / "views", self._permissions
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
    ) -> tuple[TimedStart, Witness | str]:
        """Start the app under observation; return the start and its witness, or the reason why there is no witness."""
        roots.caches.mkdir(parents=True, exist_ok=True)
        roots.notes.mkdir(parents=True, exist_ok=True)
        app = self._app({**environ, **stopwatch(environ, roots.notes)}, lead)
        witness: Witness | str
        try:
            witness = witness_for(app)
        except AppError as error:
            witness = error.message

        def tell(seconds: float) -> None:
            fetched = f", {FolderGrowth(roots.caches).size / 1e6:.1f} MB downloaded" if subject.folder else ""
            self._on_event(Noted(self.recipe.name, f"starting for {seconds:.0f} s{fetched}"))

        seeing = None if isinstance(witness, str) else witness
        # Do not wait after a cold start, which may go online, or if attempts cannot be counted.
        observe_s = self._around.observe_s if seeing is not None and subject.folder is None else 0.0
        instruments = Instruments(seeing, roots.notes, replace(subject, gpus=self._gpus), tell, observe_s)
        started = start(app, self.recipe.first, self._around.ready_within_s, instruments)
        if not isinstance(witness, str):
            witness.close()
        if started.notes:
            self.imported = outermost_names(list(started.notes), started.began, started.ready_s)
        return started, witness

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

    def _timeline(self, condition: str, started: TimedStart, witness: Witness | str, fetched: int) -> Timeline:
        seen = started.seen or ResourceUse()
        imports = sum_up(list(started.notes), started.began, started.ready_s)
        return Timeline(
            condition=condition,
            ready_s=started.ready_s,
            first_s=started.first_s,
            # The port is polled, so the listening time may be seen late: the app listened before it was ready.
            listening_s=None if seen.listening_s is None else min(seen.listening_s, started.ready_s),
            imports=imports,
            reading=WeightReads(major_faults=seen.major_faults),
            traffic=_traffic(
                witness, Traffic(fetched, seen.disk_read, seen.disk_written), started.own_ports, started.observed_s
            ),
            memory=Memory(
                seen.rss, seen.pss or None, started.cgroup_peak, started.page_cache, seen.video, started.no_cgroup
            ),
        )

    def _evict(self, folders: Sequence[Path]) -> EvictionResult:
        """Evict the folders and the app's environment from the page cache; return the result for the folders."""
        evict(self._interpreter())
        return evict(folders)

    def _weights(self, library: Library) -> list[Path]:
        digests = {file.digest for _, snapshot in all_required(self.recipe, library) for file in snapshot.files}
        return [library.path(digest) for digest in digests]

    def _interpreter(self) -> list[Path]:
        """Return the virtual environment that contains the command's program, or nothing if there is none."""
        home = Path(self.recipe.command[0]).parent.parent
        return [home] if (home / "pyvenv.cfg").is_file() else []


def _traffic(witness: Witness | str, traffic: Traffic, own: frozenset[int], observed_s: float) -> Traffic:
    if isinstance(witness, str):
        return replace(traffic, uncounted=witness)
    seen = network_seen(witness, own)
    traffic = replace(traffic, observed_s=round(observed_s, 1), places=seen.places)
    if seen.blind_spots:
        return replace(traffic, uncounted="; ".join(seen.blind_spots))
    return replace(traffic, outbound=seen.outbound, lookups=seen.lookups)
