"""Image start list: what the guard in an image reads ahead, with the image's paths, and the modules in it."""

import posixpath
import re
from collections.abc import Collection, Iterable, Mapping

from preheat.guard.warm_up.start_list import plain_ranges
from preheat.oci.config.base_modules import bytecode_path
from preheat.oci.layers.layer import LARGE
from preheat.oci.layers.layer_plan import Group
from preheat.oci.layers.tar import FILE
from preheat.oci.layers.view_entries import HOME
from preheat.recipes.places import DIR, ENVIRONMENT, PYTHON, SITE_PACKAGES
from preheat.recipes.recipe import Recipe

START_LIST = f"{HOME}/start.list"
_BYTECODE = re.compile(r"(.*)/__pycache__/([^/]+)\.[a-z]+-[0-9]+\.pyc", re.DOTALL)
# With one of these, Python looks for its bytecode elsewhere.
_OTHER_BYTECODE = ("PYTHONPYCACHEPREFIX", "PYTHONOPTIMIZE")


def python_tag(recipe: Recipe, environ: Mapping[str, str]) -> str:
    """Return how the image's Python names its bytecode, such as `cpython-312`; "" if that is unknown.

    `recipe` is the app in the image, with its places there, and `environ` its variables.
    """
    python = recipe.places.python if recipe.places is not None else None
    if python is None or not python.python or any(environ.get(name) for name in _OTHER_BYTECODE):
        return ""
    return f"cpython-{python.python.replace('.', '')}"


def listed_modules(recipe: Recipe) -> tuple[str, ...]:
    """Return the modules of the start list, compiled or not there, as paths relative to the image's root, in its order.

    Files that the command names are left out: Python uses no bytecode for a script.
    """
    scripts = {str(recipe.folder / word) for word in recipe.command}
    modules = (_module(line.partition("\t")[0]) for line in plain_ranges(recipe.start_list, _places(recipe)))
    return tuple(dict.fromkeys(module.strip("/") for module in modules if module and module not in scripts))


def image_start_list(recipe: Recipe, weights: Iterable[Group], tag: str, uncompiled: Collection[str]) -> bytes:
    """Return the recipe's start list for `--warm`, followed by the large files of the needs; empty without a list.

    `recipe` is the app in the image, with its places there. Modules are replaced by their bytecode for the Python
    `tag`, but for those that are `uncompiled` in the image. What the base does not have is skipped in the container.
    """
    if not recipe.start_list:
        return b""
    compiled = set(listed_modules(recipe)).difference(uncompiled) if tag else set()
    lines = []
    for line in plain_ranges(recipe.start_list, _places(recipe)):
        path, tab, span = line.partition("\t")
        module = _module(path).strip("/")
        lines.append(f"/{bytecode_path(module, tag)}{tab}{span}" if module in compiled else line)
    large = [f"/{one.path}" for group in weights for one in group.entries if one.kind == FILE and one.size >= LARGE]
    return "".join(f"{line}\n" for line in dict.fromkeys((*lines, *large))).encode("utf-8", "surrogateescape")


def _places(recipe: Recipe) -> dict[str, str]:
    places = {DIR: str(recipe.folder)}
    packages = recipe.places.site_packages if recipe.places is not None else None
    if packages is None or recipe.places is None:
        return places
    # Where the standard library was not found, it is taken to be in the folder that its packages are in.
    library = str(packages.parent)
    own = recipe.places.python.standard_library if recipe.places.python is not None else None
    return {
        **places,
        SITE_PACKAGES: str(packages),
        PYTHON: library if own is None else str(own),
        ENVIRONMENT: posixpath.normpath(f"{library}/../.."),
    }


def _module(path: str) -> str:
    """Return the module of a file with bytecode or a module; "" for another file."""
    compiled = _BYTECODE.fullmatch(path)
    return f"{compiled[1]}/{compiled[2]}.py" if compiled else path if path.endswith(".py") else ""
