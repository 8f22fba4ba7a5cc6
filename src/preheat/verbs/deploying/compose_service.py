"""Compose service: an app in a container, kept by the guard as one file, with the library as a read-only volume."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from preheat.core.events import Listener, Noted
from preheat.core.values.replace import replace
from preheat.deploy.container_image import ContainerImage, app_image
from preheat.deploy.guard_zip import keep_guard_zip
from preheat.deploy.named_by_content import keep_by_content
from preheat.deploy.service import Mount, Service
from preheat.library.library import Library
from preheat.recipes.app_python import AppPython
from preheat.recipes.container_port import container_port
from preheat.recipes.offline_env import in_container, needs_hub
from preheat.recipes.places import CACHE, DIR, HOME, TMP, split_place
from preheat.recipes.recipe import Recipe
from preheat.verbs.building.image_contents import GUARD
from preheat.verbs.building.prepare_answers import prepare_answers
from preheat.verbs.deploying.service_terms import ServiceTerms, container_user, start_time
from preheat.verbs.locked_needs import require
from preheat.verbs.placing.allowed_places import Permissions
from preheat.verbs.view import place_needs
from preheat.views.view_protocol import View

_TMP = "/tmp"  # noqa: S108 - the container's own


def compose_service(
    recipe: Recipe,
    library: Library,
    view_of: Callable[[str], View],
    environ: Mapping[str, str],
    permissions: Permissions,
    terms: ServiceTerms,
    on_event: Listener,
) -> tuple[Service, ContainerImage]:
    """Return the service of an app and its image.

    Places the app's views, and writes the guard into the library, or into the app's folder if that is not permitted.
    The container reads the library, and writes to the app's folder and to memory. `environ` are this machine's
    variables, for the app's Python. Raise NotPreloaded and Occupied as `place_needs` does.
    """
    port = container_port(recipe, recipe.command, terms.status, terms.port)
    if port.number is None:
        on_event(Noted("ports", f"none: {recipe.name} names no port; in [app]: port = 7860"))
    if recipe.memory_snapshot:
        said = "left out: CRIU works in no container with a seccomp filter; a systemd service can use it"
        on_event(Noted("memory_snapshot", said))
    python = AppPython.of({**environ, **recipe.env}, recipe.folder, recipe.command)
    service = Service(
        name=recipe.name,
        command=(),
        check=("python3", f"/{GUARD}", "--check", terms.status),
        folder=None,
        ports=() if port.number is None else (_mapped(terms.front, port.number),),
        user=container_user(recipe.folder, terms.user) if terms.user or not terms.built else "",
        scratch=(_TMP,),
        ready_within_s=terms.ready_within_s,
        stop_within_s=terms.stop_within_s,
        health_interval_s=terms.health_interval_s,
        start=start_time(recipe, library),
        has_gpu=bool(python.gpu),
    )
    if terms.built:
        return service, ContainerImage(terms.image)
    if not terms.user and recipe.folder.stat().st_uid == 0:
        said = f"{service.user} in place of root, who owns {recipe.folder}: the app cannot write there; --user NAME"
        on_event(Noted("user", said))
    placed = place_needs(recipe, library, view_of, on_event, permissions=permissions)
    # The library of a group may belong to another user.
    guard = keep_guard_zip(library.root, recipe.folder)
    hub = _kept_answers(recipe, library, on_event) if needs_hub(recipe) else ()
    homes = {"HOME": _TMP, **_homes(recipe)}
    words = ("python3", str(guard), "--ready-within", terms.ready_within, "--stop-within", terms.stop_within)
    ready = ("--ready", port.ready) if port.ready else ()
    command, installed = _command(recipe, python, environ, on_event)
    service = replace(
        service,
        command=(*words, "--status", terms.status, "--name", recipe.name, *port.options, *ready, *hub, "--", *command),
        check=("python3", str(guard), "--check", terms.status),
        folder=recipe.folder,
        env={**in_container(recipe.env, hub=recipe.hub), **homes, **placed, **recipe.env},
        mounts=_mounts(recipe, library),
        scratch=tuple(dict.fromkeys((_TMP, *homes.values()))),
    )
    version = python.python or "{}.{}".format(*sys.version_info[:2])
    if terms.image:
        return service, ContainerImage(terms.image)
    image = app_image(recipe.name, recipe.folder, version, installed)
    if image.context is None:
        on_event(Noted("image", f"{image.name}, without packages: a Dockerfile or requirements.txt beside the recipe"))
    return service, image


def _kept_answers(recipe: Recipe, library: Library, on_event: Listener) -> tuple[str, ...]:
    """Write the hub's answers about the needs for the guard; return its option. The container mounts the library."""
    needed = require(recipe, library, on_event)
    body = prepare_answers(needed, library, lambda digest: str(library.path(digest))).encode()
    return "--hub", str(keep_by_content("hub", ".json", body, 0o644, (library.root, recipe.folder)))


def _mapped(front: str, port: int) -> str:
    """Return a port of the container as compose maps it, at the public address `front` if that is given."""
    host, _, public = front.rpartition(":")
    address = "" if host in ("", "0.0.0.0") else f"{host}:"  # noqa: S104 - compared with
    return f"{address}{public or port}:{port}"


def _command(
    recipe: Recipe, python: AppPython, environ: Mapping[str, str], on_event: Listener
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return the command in the container, and the packages of its virtual environment.

    A virtual environment leads to a Python of this machine, which the container does not have: the image's programs of
    the same name take the place of its own.
    """
    program = recipe.folder / recipe.command[0]
    own = program.parent.parent
    if "/" not in recipe.command[0] or not (own / "pyvenv.cfg").is_file():
        return recipe.command, python.packages if _is_apps(python, recipe, environ) else {}
    name = "python3" if program.name.startswith("python") else program.name
    on_event(Noted("command", f"the container starts {name} of its image in place of {program}"))
    return (name, *recipe.command[1:]), python.packages


def _is_apps(python: AppPython, recipe: Recipe, environ: Mapping[str, str]) -> bool:
    """Return whether a virtual environment is the app's: in its folder, or active and not preheat's."""
    prefix = python.prefix
    if prefix is None or not (prefix / "pyvenv.cfg").is_file() or prefix == Path(sys.prefix):
        return False
    return prefix.is_relative_to(recipe.folder) or str(prefix) == environ.get("VIRTUAL_ENV")


def _mounts(recipe: Recipe, library: Library) -> tuple[Mount, ...]:
    """Return the folders that the container needs: the app's, the library, and those of views elsewhere."""
    named = [recipe.place_of(need) for need in recipe.needs if need.at and split_place(need.at)[0] != DIR]
    places = [place for place in dict.fromkeys(named) if not place.is_relative_to(recipe.folder)]
    return (
        Mount(recipe.folder, writable=True),
        Mount(library.root),
        *(Mount(place, writable=True) for place in places),
    )


def _homes(recipe: Recipe) -> dict[str, str]:
    """Return the variables that make the container's user look in these folders."""
    places, named = recipe.places, {split_place(need.at)[0] for need in recipe.needs}
    if places is None:
        return {}
    known = (("HOME", HOME), ("XDG_CACHE_HOME", CACHE), ("TMPDIR", TMP))
    return {variable: str(places.folder(name)) for variable, name in known if name in named}
