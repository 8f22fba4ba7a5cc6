"""Below places: a path as it looks from the app's folders, so that their own names do not matter."""

import os
from collections.abc import Callable
from functools import lru_cache

from preheat.recipes.places import CACHE, NAMES, Places


@lru_cache(maxsize=8)
def below_places(places: Places) -> Callable[[str], str]:
    """Return a function that returns a path below the longest of `places` that contains it, with a leading slash.

    A path in the cache folder begins with `/.cache`; one in no place is returned as it is. The app of a folder called
    `/data/logs/app` does not write only logs.
    """
    spelled: dict[str, str] = {}
    for name in reversed(NAMES):
        folder = places.folder(name)
        if folder is not None:
            lead = "/.cache" if name == CACHE else ""
            spelled |= {f"{one.rstrip('/')}/": lead for one in (os.path.normpath(folder), os.path.realpath(folder))}
    ordered = sorted((item for item in spelled.items() if item[0] != "/"), key=lambda item: -len(item[0]))

    def below(path: str) -> str:
        found = next(((folder, lead) for folder, lead in ordered if path.startswith(folder)), None)
        return path if found is None else f"{found[1]}/{path[len(found[0]) :]}"

    return below
