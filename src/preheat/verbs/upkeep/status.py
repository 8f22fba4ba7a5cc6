"""Status: the library, the apps and mirrors that run, what is stale, and what to do next; no network, no hashing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from preheat.core.errors import PreheatError
from preheat.disk.free_space import existing, free_bytes
from preheat.guard.memory_snapshot.saved_memory import SavedMemory
from preheat.library.adopt.hf_caches import repositories as hf_repositories
from preheat.library.adopt.known_caches import KnownCaches
from preheat.library.adopt.ms_caches import repositories as ms_repositories
from preheat.library.app_notes import AppNote
from preheat.library.library import Library
from preheat.library.upkeep.usage import VersionUsage, survey
from preheat.recipes.lock_file import Lock
from preheat.recipes.recipe import Need, Recipe
from preheat.verbs.upkeep.noted_apps import noted_path
from preheat.verbs.upkeep.old_versions import old_versions
from preheat.verbs.upkeep.running_notes import RunningProcess
from preheat.verbs.upkeep.saved_apps import saved_apps

_FEW = 3  # versions to name in the next steps


@dataclass(frozen=True, slots=True)
class LibraryStatus:
    """The library's folder, its disk usage and the disk's free space in bytes, and its versions.

    `interrupted` are the bytes of downloads to resume; `old` are the versions that `prune --old` would remove, which
    each use `own` bytes alone.
    """

    root: Path
    size: int
    free: int
    versions: tuple[VersionUsage, ...]
    interrupted: int
    old: tuple[VersionUsage, ...]

    @property
    def partial(self) -> tuple[VersionUsage, ...]:
        """Return the versions of which files are known to be missing, but not because a pull selected others."""
        return tuple(one for one in self.versions if one.unlisted)

    @property
    def old_size(self) -> int:
        """Return the bytes that only the old versions use."""
        return sum(one.own for one in self.old)


@dataclass(frozen=True, slots=True)
class RecipeStatus:
    """The app of a recipe: the needs that are `missing`, and sentences about what is `stale` about its lock.

    `error` is why the recipe cannot be read; empty if it can.
    """

    name: str
    path: Path
    missing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class NextStep:
    """A command to type next, and the reason."""

    command: str
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the library, of the app in the folder (None without a recipe), and of this user's processes.

    `stale` are sentences about what is out of date, `steps` the commands to type next. `memory` are the memory
    snapshots in the library, `others` the apps elsewhere that have used the library, the latest first.
    """

    library: LibraryStatus
    app: RecipeStatus | None
    processes: tuple[RunningProcess, ...]
    stale: tuple[str, ...]
    steps: tuple[NextStep, ...]
    memory: tuple[SavedMemory, ...] = ()
    others: tuple[AppNote, ...] = ()


def library_status(library: Library, recipes: Iterable[Path] = ()) -> LibraryStatus:
    """Return the status of a library; it need not exist. Reads its records and lists its folders.

    The versions that the locks of `recipes` pin are not old.
    """
    root = library.root
    everything = survey(library.records, root / "blobs", library.pins)
    gone = {snapshot.ref for snapshot in old_versions(library, recipes)}
    old = tuple(one for one in everything.versions if one.ref in gone)
    interrupted = _used((root / "partial").rglob("*.part"))
    return LibraryStatus(root, everything.stored, free_bytes(existing(root)), everything.versions, interrupted, old)


def app_status(recipe: Recipe, lock: Lock | None, missing: Iterable[Need]) -> RecipeStatus:
    """Return the status of a recipe as written, without its lock's pins; the library lacks the needs `missing`."""
    stale = ("it has no lock",) if lock is None else tuple(lock.stale(recipe))
    names = tuple(str(need.ref) for need in missing)
    return RecipeStatus(recipe.name, recipe.path or recipe.folder, names, stale if recipe.needs else ())


def status(
    library: Library, app: RecipeStatus | None, processes: Sequence[RunningProcess], caches: KnownCaches | None
) -> Status:
    """Return the status, with what is stale and what to do next; `caches` matter if there is neither app nor model."""
    path = None if app is None else app.path
    found = library_status(library, () if path is None else (path,))
    noted = None if path is None else noted_path(path)
    others = [note for note in library.apps if not (note.here and note.recipe == noted)]
    others.sort(key=lambda note: -note.used_at)
    return Status(
        found,
        app,
        tuple(processes),
        tuple(_stale(found, app)),
        tuple(_steps(found, app, processes, caches)) or tuple(_general_steps(others, processes)),
        tuple(saved_apps(library)),
        tuple(others),
    )


def _stale(library: LibraryStatus, app: RecipeStatus | None) -> Iterable[str]:
    if app is not None:
        yield from (f"the lock of {app.name}: {why}" for why in app.stale)
    for one in library.partial:
        yield f"{one.ref.at(one.ref.branch)} is partial: {one.missing_files} of {one.files} files missing"


def _steps(
    library: LibraryStatus, app: RecipeStatus | None, processes: Sequence[RunningProcess], caches: KnownCaches | None
) -> Iterable[NextStep]:
    if app is not None:
        yield from _app_steps(app, processes)
    elif not library.versions:
        folders = _caches_with_models(caches)
        if folders:
            words = " ".join(quote(str(folder)) for folder in folders)
            yield NextStep(f"preheat adopt {words}", "takes the models there into the library without a download")
        else:
            yield NextStep("preheat recipes", "lists the apps that preheat knows")
    for one in library.partial[:_FEW]:
        yield NextStep(one.ref.at(one.ref.branch).how_to_get, "downloads the missing files")
    if library.old:
        yield NextStep("preheat prune --old", f"removes versions that no branch refers to: {len(library.old)}")


def _general_steps(others: Sequence[AppNote], processes: Sequence[RunningProcess]) -> Iterable[NextStep]:
    """Yield what can be done when nothing has to be."""
    idle = (note for note in others if note.here and all(one.folder != str(note.recipe.parent) for one in processes))
    if note := next(idle, None):
        yield NextStep(f"preheat run {quote(str(note.recipe))}", f"starts {note.name} offline")
    else:
        yield NextStep("preheat trace -- python webui.py", "finds out what another app needs, and writes its recipe")


def _app_steps(app: RecipeStatus, processes: Sequence[RunningProcess]) -> Iterable[NextStep]:
    if app.error:
        return
    if app.missing:
        yield NextStep("preheat pull", f"downloads what {app.name} needs")
    if app.stale:
        yield NextStep("preheat lock", "pins the commits and digests of its needs")
    if not app.missing and not any(one.folder == str(app.path.parent) and one.name == app.name for one in processes):
        yield NextStep("preheat run", f"starts {app.name} offline")


def _caches_with_models(caches: KnownCaches | None) -> list[Path]:
    if caches is None:
        return []
    found = [caches.hugging_face] if hf_repositories(caches.hugging_face) else []
    return [*found, caches.modelscope] if ms_repositories(caches.modelscope) else found


def _used(paths: Iterable[Path]) -> int:
    """Return the disk usage of files in bytes."""
    used = 0
    for path in paths:
        try:
            used += path.stat().st_blocks * 512
        except OSError:
            continue  # sealed since it was listed
    return used


def broken_app(path: Path, error: PreheatError) -> RecipeStatus:
    """Return the status of a recipe that cannot be read."""
    return RecipeStatus(path.name, path, error=error.message)
