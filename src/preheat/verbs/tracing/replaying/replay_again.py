"""Replay again: start an app from a recipe that exists, with no network and a new HOME, as `trace` does."""

from collections.abc import Mapping
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.events import Listener
from preheat.disk.temporary_file import TRACE
from preheat.library.library import Library
from preheat.proof.conditions.scratch_folder import fresh, sweep
from preheat.recipes.recipe import Recipe
from preheat.verbs.locked_needs import report_missing
from preheat.verbs.tracing.readiness import TraceWatch, Wanted
from preheat.verbs.tracing.replaying.replay import Replays, ReplayVerdict
from preheat.verbs.tracing.replaying.replayed_start import ReplaySetting
from preheat.verbs.tracing.workbench import AppFolders, Workbench, alone_in
from preheat.views.view_names import choose_view


def replay_again(
    recipe: Recipe,
    library: Library,
    environ: Mapping[str, str],
    home: Path | None,
    on_event: Listener,
    *,
    overlay: bool,
) -> ReplayVerdict:
    """Replay a recipe whose needs are pinned, once, as it is. `overlay`: see Workbench.

    Raise UsageError if it has no command, LibraryError if the library cannot be written.
    """
    if not recipe.command:
        raise UsageError(f"{recipe.name} has no command to start", hint='command = ["python", "app.py"] in [app]')
    report_missing(recipe, library, on_event)
    library.prepare(0)
    sweep(library.root)
    folders = AppFolders.of(recipe.folder, recipe.command, environ, home)
    with alone_in(recipe.folder), fresh(library.root, TRACE) as workplace:
        bench = Workbench.open(folders, library.root, workplace, overlay=overlay)
        replays = Replays(bench, ReplaySetting(library, choose_view, environ, home, TraceWatch()), Wanted(), on_event)
        replayed = replays.once(recipe)
        return ReplayVerdict(replayed, replays.verified(replayed), seconds=replays.seconds)
