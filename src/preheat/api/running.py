"""Running: run an app offline with files from the library, supervised until it ends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from preheat import __version__
from preheat.core.cache_variables import lead_to_views
from preheat.core.errors import UsageError
from preheat.core.events import Noted
from preheat.core.values.replace import replace
from preheat.guard.model.app import PORT, App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.options import GuardSetup
from preheat.guard.process.pid1 import leave_process_1
from preheat.recipes.app_port import (
    at_port,
    behind_front,
    ready_at,
    require_addresses,
    require_status_apart,
    untold_port,
    usual_port,
)
from preheat.recipes.app_python import missing_script
from preheat.recipes.offline_env import offline
from preheat.recipes.recipe import FILE_NAME, Recipe
from preheat.verbs.locked_needs import fitting, ordered_weights, rehash_modified, require
from preheat.verbs.placing.allowed_places import require_inside
from preheat.verbs.placing.place import place_sites
from preheat.verbs.run import RunOptions, mapping_weights, run
from preheat.verbs.upkeep.noted_apps import note_app
from preheat.verbs.upkeep.running_notes import app_note, refuse_second
from preheat.verbs.view import all_snapshots, place_all, sites_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from preheat.api.session import Session
    from preheat.core.events import Listener
    from preheat.core.snapshot import Snapshot
    from preheat.guard.memory_snapshot.memory_snapshots import MemoryPolicy
    from preheat.guard.warm_up.warmed_file import FileRange
    from preheat.verbs.locked_needs import Required

_OF_A_SESSION = frozenset(
    ("_", "COLUMNS", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "INVOCATION_ID", "JOURNAL_STREAM", "LINES", "LS_COLORS",
     "OLDPWD", "PREHEAT_CRIU", "PWD", "SHLVL", "SSH_AUTH_SOCK", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "TERM",
     "TMUX", "TMUX_PANE", "WINDOWID", "XDG_SESSION_ID")
)  # fmt: skip


class Guarding(msgspec.Struct, frozen=True, kw_only=True):
    """How the guard supervises an app; see docs/guard.md.

    Times are in seconds; addresses are `HOST:PORT`; an empty string means none. `ready`: the ready probe, replaces the
    recipe's. `alive`: the liveness probe. `front`: the app's public address, held by the guard; with `standby`, a new
    instance takes over before the old one stops. `warm`: a request to send before the app counts as ready. `warm_up`:
    read the start list of the lock and the weights into the page cache while the app starts. `memory_snapshot`: restore
    the app from its memory snapshot instead of starting it, and make one if there is none (docs/memory-snapshots.md).
    `idle_after_s`: save and end the app when no client has been connected to its front for so long; the next client
    restores it; 0: never. `port`: the port at which the app listens, if the recipe says how it takes it.
    """

    pull: bool = False
    ready: str = ""
    patience: RestartPolicy = RestartPolicy()
    alive: str = ""
    status: str = ""
    front: str = ""
    standby: bool = False
    drain_within_s: float = 30.0
    warm: str = ""
    warm_up: bool = True
    mmap_weights: bool = False
    memory_snapshot: bool = False
    idle_after_s: float = 0.0
    port: int | None = None
    network: Literal["free", "watch", "none"] = "free"

    def __post_init__(self) -> None:
        if self.port is not None and not 1 <= self.port <= 65535:
            raise UsageError(f"{self.port} is not a port: 1 to 65535", hint="--port 7861")
        if self.port is not None and self.front:
            raise UsageError("--port and --front exclude each other", hint="the front chooses the app's own port")
        if self.patience.max_restarts < 0:
            raise UsageError(
                f"the number of restarts must be at least 0, not {self.patience.max_restarts}", hint="--max-restarts 3"
            )
        if self.idle_after_s and (not self.front or self.standby):
            raise UsageError(
                "an idle app is ended only behind a front that holds its port, and without a standby",
                hint="--front 0.0.0.0:7860 --memory-snapshot --idle-after 15m",
            )


def run_app(recipe: Recipe, session: Session, guarding: Guarding) -> int:
    """Start the recipe's command offline and keep it running; return its exit status, or 128 plus the signal's number.

    A recipe without needs can use all models in the library. Raise AppError if the app could not be kept running,
    NotPreloaded and Occupied before it is started, CheckFailed if the settings refuse unsafe files and a need has one.
    """
    recipe = fitting(replace(recipe, ready=guarding.ready or recipe.ready), session.on_event)
    usual = usual_port(recipe)
    require_addresses(guarding.front, guarding.status, standby=guarding.standby)
    require_status_apart(recipe, guarding.port, guarding.front, guarding.status)
    if guarding.front:  # it chooses the app's port itself, and replaces {port}
        alive = ready_at(guarding.alive, usual, PORT)
        recipe = behind_front(recipe, guarding.front)
        if untold := untold_port(recipe, session.config.environ):
            session.on_event(Noted(recipe.name, untold))
    else:
        alive = ready_at(guarding.alive, usual, guarding.port or usual)
        recipe = at_port(recipe, guarding.port)
    require_inside(recipe, session.permissions)
    addresses = (guarding.front or recipe.ready, guarding.status)
    refuse_second(session.config.state, recipe.name, recipe.folder, addresses)
    session.put_back()
    if guarding.pull:
        from preheat.api.pulling import pull_needs

        recipe = pull_needs(recipe, session)
    # The app's output goes to a pipe, which Python would otherwise buffer.
    needed = require(recipe, session.library, session.on_event)
    note_app(recipe, session.library)
    _refuse_unsafe([snapshot for _, snapshot in needed], session)
    environ = offline(session.config.environ)
    placed = _placed(recipe, needed, session)
    _require_script(recipe, environ | recipe.env)
    environ = lead_to_views(environ, placed)
    environ = {"PYTHONUNBUFFERED": "1", **environ, **recipe.env}
    snapshots = _with_snapshots(recipe, session, guarding)
    if guarding.mmap_weights or snapshots:
        environ |= mapping_weights(environ)
    app = App(
        recipe.command,
        environ,
        str(recipe.folder),
        recipe.ready,
        alive,
        (str(session.library.root / "blobs"),),
        isolated=guarding.network == "none",
    )
    stage = GuardSetup(
        name=recipe.name,
        status=guarding.status,
        front=guarding.front,
        standby=guarding.standby,
        drain_within_s=guarding.drain_within_s,
        warm=guarding.warm,
        history=str(session.library.root / "starts" / recipe.name),
        memory=_memory_policy(recipe, needed, environ, session, guarding) if snapshots else None,
        weights=ordered_weights(recipe, needed, session.library) if guarding.warm_up else (),
        start_list=_start_list(recipe, environ) if guarding.warm_up and recipe.start_list else None,
    )
    leave_process_1()
    options = RunOptions(guarding.patience, network=guarding.network != "free", stage=stage)
    own_page = app.ready if app.ready.startswith("http") and not guarding.front else ""
    pages = (guarding.front, own_page, guarding.status)
    with app_note(session.config.state, session.library.root, recipe.name, recipe.folder, pages) as note:
        return _supervise(recipe, app, options, needed, session, note.watching(session.on_event))


def _require_script(recipe: Recipe, environ: Mapping[str, str]) -> None:
    """Raise UsageError if the script of the app's command does not exist: each start would fail."""
    script = missing_script(environ, recipe.folder, recipe.command)
    if script:
        hint = f"a recipe does not contain the app's own code: copy the app's folder to {recipe.folder}"
        if recipe.path is None:
            hint = "change to the app's folder, or correct the name"
        raise UsageError(f"{recipe.name} cannot be started: {recipe.folder / script} does not exist", hint=hint)


def _supervise(
    recipe: Recipe, app: App, options: RunOptions, needed: Required, session: Session, on_event: Listener
) -> int:
    """Run the app, with a hub that serves the library if the recipe asks for it."""
    if not recipe.hub:
        return run(app, options, on_event)
    # Hardly ever needed, and the app waits for it.
    from tempfile import TemporaryDirectory

    from preheat.verbs.local_hub import library_hub, needs_alone

    unsafe = session.settings.unsafe_files
    with TemporaryDirectory(prefix="preheat-needs-") as folder:
        served = needs_alone(needed, session.library, Path(folder)) if recipe.needs else session.library
        with library_hub(served, app.env or {}, unsafe, on_event) as lead:
            return run(lead.around(app), options, on_event)


def _with_snapshots(recipe: Recipe, session: Session, guarding: Guarding) -> bool:
    wanted = guarding.memory_snapshot or recipe.memory_snapshot
    if guarding.idle_after_s and not wanted:
        raise UsageError("only an app whose memory is saved can be ended when idle", hint="add --memory-snapshot")
    if wanted and recipe.why_not_saved:
        session.on_event(Noted("no memory snapshots", recipe.why_not_saved))
    return wanted and not recipe.why_not_saved


def _memory_policy(
    recipe: Recipe, needed: Required, environ: Mapping[str, str], session: Session, guarding: Guarding
) -> MemoryPolicy:
    """Return where the app's memory snapshots are, and what they depend on."""
    import hashlib

    from preheat.guard.memory_snapshot.memory_snapshots import MemoryPolicy
    from preheat.guard.memory_snapshot.saved_memory import FOLDER
    from preheat.recipes.app_python import AppPython

    # These differ from one session of a user to the next, and apps do not depend on them.
    variables = {name: value for name, value in environ.items() if name not in _OF_A_SESSION}
    given = [*recipe.command, recipe.folder, session.library.root, guarding.front, __version__]
    given += [f"{name}={value}" for name, value in sorted(variables.items())]
    given += [(str(need.ref), need.at, need.view, snapshot.commit, snapshot.files) for need, snapshot in needed]
    site_packages = AppPython.of(environ, recipe.folder, recipe.command).site_packages
    return MemoryPolicy(
        folder=str(session.library.root / FOLDER / recipe.name),
        identity=hashlib.sha256(repr(given).encode("utf-8", "surrogateescape")).hexdigest(),
        first=recipe.first,
        first_within_s=guarding.patience.ready_within_s,
        idle_after_s=guarding.idle_after_s,
        code=tuple(str(place) for place in (recipe.folder, site_packages) if place is not None),
    )


def _placed(recipe: Recipe, needed: Required, session: Session) -> dict[str, str]:
    """Place the app's needs; return the environment variables that point to the views."""
    library, permissions = session.library, session.permissions
    if recipe.needs:
        sites = sites_of(recipe, needed, library, session.app_view, permissions)
        return place_sites(sites, library, session.on_event, permissions)
    snapshots = list(all_snapshots(library))
    rehash_modified(library, snapshots, session.on_event)
    _refuse_unsafe(snapshots, session)
    return place_all(snapshots, recipe.name, library, session.app_view, session.on_event)


def _refuse_unsafe(snapshots: Iterable[Snapshot], session: Session) -> None:
    """Raise CheckFailed for a file that can run code when it is loaded, if the settings refuse such files.

    A pull checks the files that it downloads; the library may have others, pulled without this setting.
    """
    if session.settings.unsafe_files == "refuse":
        from preheat.verbs.scan import REFUSE, scan_and_report  # hardly ever needed, and the app waits for it

        for snapshot in snapshots:
            scan_and_report(snapshot.files, session.library, REFUSE, session.on_event)


def _start_list(recipe: Recipe, environ: Mapping[str, str]) -> Callable[[], Iterator[FileRange]]:
    """Return a function that finds what the app's start reads besides its weights; the app need not wait for that."""

    def ranges() -> Iterator[FileRange]:
        from preheat.guard.warm_up.start_list import StartList
        from preheat.recipes.app_python import AppPython
        from preheat.recipes.places import start_places

        python = AppPython.of(environ, recipe.folder, recipe.command)
        return StartList(recipe.start_list, start_places(recipe.folder, python)).ranges()

    return ranges


def app_to_run(app: str | None, command: tuple[str, ...], session: Session) -> Recipe:
    """Return the recipe of `app`, with `command` in place of its own if given; without `app`, one for `command` alone.

    Raise UsageError if there is no command.
    """
    if command and not command[0]:
        raise UsageError("the command's name is empty", hint="preheat run -- CMD; is a variable in it unset?")
    if command and not app and not Path(FILE_NAME).is_file():
        return Recipe(Path(command[0]).name.strip(".") or "app", Path.cwd(), command)
    recipe = session.recipe(app)
    command = command or recipe.command
    if not command:
        raise UsageError(f"{recipe.name} has no command", hint="command = […] in [app], or preheat run APP -- CMD")
    return replace(recipe, command=command).at_places(session.config.environ)
