"""Portable places: write the paths of one start so that they are right for another user, folder and environment."""

import re
from collections.abc import Mapping

from preheat.core.cache_variables import CACHE_ROOTS, HF_HUB_CACHES, MODELSCOPE_CACHE, TORCH_HOME, XDG_CACHE_HOME
from preheat.recipes.inference.layout_paths import HUB_LAYOUTS, TORCH_HUB, WHISPER, LayoutPath, within
from preheat.recipes.inference.observation import Observation
from preheat.recipes.places import Places, split_place

# Where each variable leads if it is not set, below the user's cache folder.
_USUAL = {"HF_HOME": "/huggingface", MODELSCOPE_CACHE: "/modelscope", TORCH_HOME: "/torch", XDG_CACHE_HOME: ""}


class PortablePlaces:
    """Converts paths to places; `caches` maps the variables that led to the app's caches to their folders."""

    def __init__(self, places: Places, caches: Mapping[str, str]) -> None:
        self._places = places
        self._caches = sorted(
            ((folder, _USUAL[variable]) for variable, folder in caches.items() if variable in CACHE_ROOTS),
            key=lambda item: -len(item[0]),
        )
        self._hubs = tuple(folder for variable, folder in caches.items() if variable in HF_HUB_CACHES)

    @classmethod
    def of(cls, seen: Observation) -> "PortablePlaces":
        """Return the places of an observed start. A cache that the recipe itself sets is like any folder."""
        return cls(seen.places, {name: folder for name, folder in seen.caches.items() if name not in seen.env})

    def shorten(self, path: str) -> str:
        """Return a path below its place, such as `{cache}/torch/hub`; an absolute path if it is in no place."""
        for folder, usual in self._caches:
            below = within(path, folder)
            if below is not None:
                return "/".join(part for part in ("{cache}" + usual, below) if part)
        return self._places.shorten(path)

    def at(self, place: LayoutPath) -> str:
        """Return a recipe's `at` for a layout's folder: empty for a cache that the view's own variable leads to."""
        where = self.shorten(place.base)
        if place.view in HUB_LAYOUTS:
            usual = place.base in self._hubs or where.startswith(("{cache}/huggingface", "{cache}/modelscope"))
            if usual or where == "{cache}":
                return ""
        elif place.view in (WHISPER, TORCH_HUB):
            return ""
        return self.relative(where)

    def relative(self, where: str) -> str:
        """Return a shortened path as a recipe writes it: relative in the app's folder, `.` for the folder itself."""
        if where == "{dir}":
            return "."
        return where.removeprefix("{dir}/")

    def word(self, word: str) -> str:
        """Return a word of the app's command, or a probe, without the app's folder."""
        own = re.escape(str(self._places.dir).rstrip("/"))
        return re.sub(rf"(?<![\w./~-]){own}(?=/|$|[\s'\":;,])", "{dir}", word) if own else word

    def split(self, path: str) -> tuple[str, str]:
        """Return a path's place and the rest; the place is empty for a path that is in none."""
        short = self.shorten(path)
        return ("", path) if short.startswith("/") else split_place(short)
