"""Running: an app, offline on what the library has, watched until it ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from preheat.core.errors import UsageError
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.options import GuardSetup
from preheat.guard.process.pid1 import leave_process_1
from preheat.recipes.offline_env import offline
from preheat.recipes.recipe import FILE_NAME, Recipe
from preheat.verbs.locked_needs import look_over, required
from preheat.verbs.placing.allowed_places import require_inside
from preheat.verbs.run import RunOptions, mapping_weights, run
from preheat.verbs.view import everything, place_all, place_needs

if TYPE_CHECKING:
    from preheat.api.session import Session
    from preheat.core.snapshot import File
    from preheat.recipes.recipe import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """How an app is watched; docs/guard.md. Times are seconds; addresses are `HOST:PORT`; empty is none.

    `ready`: when the app is ready, in the place of what its recipe says. `alive`: what shows that it still is. `front`:
    the app's public port, held by the guard, so that with `standby` a new instance takes over before the old one ends.
    `warm`: a request to make before the app counts as ready. `warm_up`: read the weights while the app starts.
    """

    pull: bool = False
    ready: str = ""
    patience: RestartPolicy = field(default_factory=RestartPolicy)
    alive: str = ""
    status: str = ""
    front: str = ""
    standby: bool = False
    drain_within_s: float = 30.0
    warm: str = ""
    warm_up: bool = True
    mmap_weights: bool = False
    network: Literal["free", "watch", "none"] = "free"

    def __post_init__(self) -> None:
        if self.patience.max_restarts < 0:
            raise UsageError(f"{self.patience.max_restarts} restarts cannot be had", hint="--max-restarts 0 or more")


def run_app(recipe: Recipe, session: Session, guarding: Guarding) -> int:
    """Start the recipe's command offline and keep it alive; return its exit status, or 128 and the signal's number.

    Without needs, it has everything that the library has. Raise AppError when it could not be kept alive, NotPreloaded
    and Occupied before it is started.
    """
    require_inside(recipe, session.permissions)
    if guarding.pull:
        from preheat.api.pulling import pull_needs

        pull_needs(recipe, session)
    # The app speaks into a pipe, and Python keeps words for a pipe back until it has a page of them.
    environ = {"PYTHONUNBUFFERED": "1", **offline(session.config.environ), **_placed(recipe, session), **recipe.env}
    if guarding.mmap_weights:
        environ |= mapping_weights(environ)
    app = App(
        recipe.command,
        environ,
        str(recipe.folder),
        guarding.ready or recipe.ready,
        guarding.alive,
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
        weights=_weights(recipe, session) if guarding.warm_up else (),
    )
    leave_process_1()
    return run(app, RunOptions(guarding.patience, network=guarding.network != "free", stage=stage), session.on_event)


def _placed(recipe: Recipe, session: Session) -> dict[str, str]:
    """Place what the app needs; return the variables that lead there."""
    library = session.library
    if recipe.needs:
        return place_needs(recipe, library, session.app_view, session.on_event, permissions=session.permissions)
    snapshots = list(everything(library))
    look_over(library, snapshots, session.on_event)
    return place_all(snapshots, recipe.name, library, session.app_view, session.on_event)


def _weights(recipe: Recipe, session: Session) -> tuple[str, ...]:
    """List what the recipe's needs lie in, in the order in which it names them: the app will read it."""
    library = session.library
    found: list[File] = []
    for need in recipe.needs:
        files = required(need, library).files
        found += sorted(files, key=lambda file: _turn(file.path, need)) if need.files else files
    return tuple(str(library.path(file.digest)) for file in found)


def _turn(path: str, need: Need) -> int:
    return next(index for index, pattern in enumerate(need.files) if fnmatchcase(path, pattern))


def app_to_run(app: str | None, command: tuple[str, ...], session: Session) -> Recipe:
    """Find what to start: a recipe, a command, or a recipe with another command. Raise UsageError if it is none."""
    if command and not command[0]:
        raise UsageError("the command's name is empty", hint="preheat run -- CMD; is a variable in it unset?")
    if command and not app and not Path(FILE_NAME).is_file():
        return Recipe(Path(command[0]).name.strip(".") or "app", Path.cwd(), command)
    recipe = session.recipe(app)
    command = command or recipe.command
    if not command:
        raise UsageError(f"{recipe.name} has no command", hint="command = […] in [app], or preheat run APP -- CMD")
    return replace(recipe, command=command)
