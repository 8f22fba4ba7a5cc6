"""Trace: start an unmodified app once, and write down what it needs: recipe, lock, and what was left out."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from preheat.errors import AppError, UsageError
from preheat.events import Listener, Noted
from preheat.guard.app import App
from preheat.library.library import Library
from preheat.library.records import write_whole
from preheat.mirror.server import Server
from preheat.recipes.draft import recipe_text
from preheat.recipes.infer import Inferred, infer
from preheat.recipes.lock import lock_path
from preheat.recipes.observation import Observation
from preheat.ref import Ref
from preheat.snapshot import Snapshot
from preheat.verbs.lock import keep_lock
from preheat.verbs.sightings import Subject, observe, reached
from preheat.verbs.traced_start import Recorder, Seen, Until, noted, traced_start


@dataclass(frozen=True, slots=True)
class Terms:
    """How to trace: where the recipe goes, until when to watch, and whom to ask.

    `mirror` makes a server that pulls through into the library and tells its listener; `resolve` asks what a ref
    means; `stopped` says that somebody has seen enough. `keep_unread` leaves nothing out.
    """

    path: Path
    until: Until
    mirror: Callable[[Listener], Server]
    resolve: Callable[[Ref], Snapshot | None]
    stopped: Callable[[], bool] = lambda: False
    keep_unread: bool = False


@dataclass(frozen=True, slots=True)
class Traced:
    """What came of it, and what it was made of."""

    inferred: Inferred
    observation: Observation
    seen: Seen
    remarks: tuple[str, ...] = field(default=())


def trace(app: App, name: str, library: Library, terms: Terms, on_event: Listener) -> Traced:
    """Start `app`, whose folder is its `cwd`, and write recipe and lock.

    Raise UsageError before anything is started where the recipe cannot be written; AppError when the app fails. What
    it fetched through the mirror stays in the library.
    """
    library.prepare(0)
    recorder = Recorder(on_event)
    with _workplace(library.root) as workplace, terms.mirror(recorder) as server:
        try:
            seen = traced_start(app, workplace, server.url, terms.until, recorder, terms.stopped)
        except AppError:
            for one in reached(noted(workplace)):
                by = " < ".join(one.modules) or "itself"
                on_event(Noted(f"{one.host}:{one.port}", f"it tried to reach that, {one.count} times, by {by}"))
            raise
        subject = Subject(name, terms.path.absolute().parent, app.command)
        observation = observe(seen, subject, library, terms.resolve)
    inferred = infer(observation, keep_unread=terms.keep_unread)
    remarks = _remarks(inferred, observation, seen)
    try:
        write_whole(terms.path, recipe_text(inferred.recipe, remarks).encode())
    except OSError as error:
        raise UsageError(f"{terms.path} cannot be written: {error.strerror}", hint="-o FILE names another") from error
    keep_lock(terms.path.with_suffix(lock_path(inferred.recipe).suffix), inferred.lock)
    return Traced(inferred, observation, seen, remarks)


@contextlib.contextmanager
def _workplace(root: Path) -> Iterator[Path]:
    """Make a folder for caches and notes beside the library's own, and remove it after."""
    folder = Path(tempfile.mkdtemp(prefix="trace-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remarks(inferred: Inferred, observation: Observation, seen: Seen) -> tuple[str, ...]:
    """Say in words what a reader of the recipe should know of how it came about."""
    day = datetime.now(UTC).date().isoformat()
    remarks = [f"Found by preheat trace on {day}, from one start. What only a later use needs is not in it."]
    if not seen.notes.processes:
        remarks.append("No Python told anything: started with -I or -E, or with an emptied environment, or none.")
    if not observation.sees_native:
        remarks.append("Opens by native code were looked for in /proc and may be missed: nothing was left out for it.")
    remarks += [f"left out: {one.what}: {one.size / 1e6:.1f} MB, {one.reason}" for one in inferred.left_out]
    remarks += [
        f"made at the start, outside this folder: {made.path.removeprefix(cache)[1:]} in {variable}, {made.size} bytes"
        for variable, cache in observation.caches.items()
        for made in observation.made
        if made.path.startswith(f"{cache}/") and made.size >= 10_000
    ]
    remarks += [
        f"tried to reach: {one.host} port {one.port}, {one.count} times, by {' < '.join(one.modules) or 'itself'}"
        for one in observation.reached
    ]
    return tuple(remarks)
