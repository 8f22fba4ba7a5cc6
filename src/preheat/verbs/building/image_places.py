"""Image places: the folders that a recipe's `at` names, in the image that is built."""

import posixpath
from pathlib import Path

from preheat.core.events import Listener
from preheat.core.values.replace import replace
from preheat.library.library import Library
from preheat.oci.config.base_image import BaseQuery
from preheat.oci.config.image_config import environ_of, is_path, search_path, user_of
from preheat.recipes.app_python import AppPython
from preheat.recipes.places import Places
from preheat.recipes.recipe import Recipe
from preheat.verbs.building.build_order import Base
from preheat.verbs.building.image_plan import find

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l"}


def at_image_places(recipe: Recipe, base: Base, library: Library, on_event: Listener) -> Recipe:
    """Return the recipe, whose folder is in the image, with the image's places.

    {home} is HOME of the recipe's or the base's environment; else the user's in the base's /etc/passwd; else /root
    for root, and /home/USER for another user for whom the base has that folder. {cache} is XDG_CACHE_HOME, else
    .cache in it; {tmp} is TMPDIR, else /tmp. {site-packages} is that of the Python that the command names, else of
    `.venv` in the app's folder, VIRTUAL_ENV, or the first Python on PATH; found in the base's layers.
    """
    if not recipe.names_places and not recipe.start_list:
        return recipe
    environ = {**environ_of(base.image.config), **recipe.env}
    user = user_of(base.image.config)
    of_user = f"home/{user}"
    search = tuple(folder.strip("/") for folder in environ.get("PATH", "").split(":") if folder.startswith("/"))
    search = search or tuple(search_path(base.image.config))
    query = BaseQuery((of_user,), (), search, _prefixes(recipe, environ, search), user=user)
    findings = find(base, query, library, on_event)
    home = (
        environ.get("HOME")
        or findings.home
        or ("/root" if user == "root" else f"/{of_user}" if of_user in findings.folders else "")
    )
    packages = Path(findings.site_packages) if findings.site_packages else None
    version = "" if packages is None else packages.parent.name.removeprefix("python")
    machine = _MACHINES.get(base.image.platform.architecture, base.image.platform.architecture)
    python = AppPython(version, machine, site_packages=packages, listed=findings.packages)
    cache = environ.get("XDG_CACHE_HOME") or (posixpath.join(home, ".cache") if home else "")
    tmp = environ.get("TMPDIR") or "/tmp"  # noqa: S108 - in the image
    return replace(
        recipe, places=Places(recipe.folder, _absolute(home), _absolute(cache), _absolute(tmp), packages, python)
    )


def _absolute(text: str) -> Path | None:
    return Path(text) if text.startswith("/") and is_path(text) else None


def _prefixes(recipe: Recipe, environ: dict[str, str], search: tuple[str, ...]) -> tuple[str, ...]:
    """Return where the app's Python may be installed, relative to the image's root, the likeliest first."""
    program = recipe.command[0] if recipe.command else ""
    named = [posixpath.normpath(posixpath.join(str(recipe.folder), program, "../.."))] if "/" in program else []
    named += [str(recipe.folder / name) for name in (".venv", "venv")]
    named += [environ["VIRTUAL_ENV"]] if environ.get("VIRTUAL_ENV") else []
    named += [posixpath.dirname(folder) for folder in search]
    return tuple(dict.fromkeys(one.strip("/") for one in named))
