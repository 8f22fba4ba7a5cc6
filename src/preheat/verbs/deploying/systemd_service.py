"""Systemd service: an app started by `preheat run`, which checks the library and places the views at each start."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from preheat.core.errors import NotPreloaded
from preheat.core.events import Listener, Noted
from preheat.core.values.replace import replace
from preheat.deploy.service import Mount, Service
from preheat.deploy.systemd import start_limit_s
from preheat.guard.memory_snapshot.criu import PATH_VARIABLE
from preheat.library.library import Library
from preheat.recipes.app_port import at_port, behind_front, require_addresses, require_status_apart
from preheat.recipes.recipe import Recipe
from preheat.verbs.deploying.service_terms import ServiceTerms, lingers, start_time, unit_user, user_id
from preheat.verbs.locked_needs import all_required
from preheat.verbs.placing.allowed_places import Permissions

# Of system services: systemd.exec(5).
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def systemd_service(
    recipe: Recipe,
    words: tuple[str, ...],
    library: Library,
    permissions: Permissions,
    terms: ServiceTerms,
    environ: Mapping[str, str],
    on_event: Listener,
) -> Service:
    """Return the service of an app that `words`, a `preheat run` with its app, start. Raise UsageError.

    `environ` are this machine's variables: with another PATH than systemd's, a command may mean another program.
    """
    user = "" if terms.own else terms.user or unit_user(recipe.folder)
    if user:
        _check_user(user, recipe, library, on_event)
    elif not lingers():
        on_event(
            Noted(
                "linger",
                "systemd starts it when you log in, and stops it when you log out; to keep it running, "
                "and start it at boot: loginctl enable-linger",
            )
        )
    try:
        all_required(recipe, library)
    except NotPreloaded as error:
        on_event(Noted("library", f"{error.message}: pull it before the service starts"))
    at_port(recipe, terms.port)
    require_addresses(terms.front, terms.status, standby=False)
    require_status_apart(recipe, terms.port, terms.front, terms.status)
    if terms.front:
        behind_front(recipe, terms.front)
    status = ("--status", terms.status) if terms.status else ()
    front = ("--front", terms.front) if terms.front else ()
    port = () if terms.port is None else ("--port", str(terms.port))
    allowed = tuple(word for place in permissions.places for word in ("--allow-place", str(place)))
    service = Service(
        name=recipe.name,
        command=(),
        check=(),
        folder=recipe.folder,
        user=user,
        ready_within_s=terms.ready_within_s,
        stop_within_s=terms.stop_within_s,
        start=start_time(recipe, library),
        renews=bool(terms.front),
        mounts=(Mount(recipe.folder, writable=True), Mount(library.root, writable=True)),
        env=_path(recipe, environ) | (_criu(environ, user, on_event) if recipe.memory_snapshot else {}),
        saves_memory=recipe.memory_snapshot,
    )
    # The guard's limit and systemd's grow together, with the starts that were measured.
    limit_s = start_limit_s(service)
    ready_within = terms.ready_within if limit_s == terms.ready_within_s else f"{limit_s:.0f}s"
    timed = ("--ready-within", ready_within, "--stop-within", terms.stop_within)
    kept = ("--keep",) if permissions.keep else ()
    return replace(
        service,
        command=(
            *words,
            "--library",
            str(library.root),
            *allowed,
            *kept,
            *timed,
            *status,
            *front,
            *port,
        ),
    )


def _check_user(user: str, recipe: Recipe, library: Library, on_event: Listener) -> None:
    uid = user_id(user)
    if uid == 0:
        on_event(Noted("user", f"root, since {recipe.folder} belongs to root; another one: --user NAME"))
    elif os.path.lexists(library.root) and library.root.stat().st_uid != uid:
        said = f"{library.root} belongs to another user: {user} can use it, but not place or change views there"
        on_event(Noted("library", said))


def _criu(environ: Mapping[str, str], user: str, on_event: Listener) -> dict[str, str]:
    """Return the variable that names this shell's CRIU, if it is not on systemd's PATH; note what it requires."""
    path = environ.get(PATH_VARIABLE) or shutil.which("criu", path=environ.get("PATH"))
    if not path:
        on_event(
            Noted(
                "memory_snapshot", f"no criu on PATH: install CRIU 4, or set {PATH_VARIABLE}; the app starts as usual"
            )
        )
    elif user != "root":
        on_event(
            Noted("memory_snapshot", f"CRIU runs in a user namespace, which the system must permit to {user or 'you'}")
        )
    return {PATH_VARIABLE: str(Path(path).absolute())} if path and path != shutil.which("criu", path=_PATH) else {}


def _path(recipe: Recipe, environ: Mapping[str, str]) -> dict[str, str]:
    """Return this shell's PATH if the command's program is another one, or none, on systemd's."""
    program, path = recipe.command[0], environ.get("PATH", "")
    if "PATH" in recipe.env or "/" in program or shutil.which(program, path=path) == shutil.which(program, path=_PATH):
        return {}
    return {"PATH": path}
