"""Image start list: what the guard in an image reads ahead, with the image's paths."""

import posixpath
from collections.abc import Iterable

from preheat.guard.warm_up.start_list import plain_ranges
from preheat.oci.layers.layer import LARGE
from preheat.oci.layers.layer_plan import Group
from preheat.oci.layers.tar import FILE
from preheat.oci.layers.view_entries import HOME
from preheat.recipes.places import DIR, ENVIRONMENT, PYTHON, SITE_PACKAGES
from preheat.recipes.recipe import Recipe

START_LIST = f"{HOME}/start.list"


def image_start_list(recipe: Recipe, weights: Iterable[Group]) -> bytes:
    """Return the recipe's start list for `--warm`, followed by the large files of the needs; empty without a list.

    `recipe` is the app in the image, with its places there. What the base does not have is skipped in the container.
    """
    if not recipe.start_list:
        return b""
    places = {DIR: str(recipe.folder)}
    packages = recipe.places.site_packages if recipe.places is not None else None
    if packages is not None:
        # An image's Python has its packages in the folder of its standard library; a virtual environment has only them.
        library = str(packages.parent)
        places |= {SITE_PACKAGES: str(packages), PYTHON: library, ENVIRONMENT: posixpath.normpath(f"{library}/../..")}
    large = [f"/{one.path}" for group in weights for one in group.entries if one.kind == FILE and one.size >= LARGE]
    lines = [*plain_ranges(recipe.start_list, places), *dict.fromkeys(large)]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
