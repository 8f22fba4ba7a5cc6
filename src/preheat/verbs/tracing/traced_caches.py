"""Traced caches: where a traced app's libraries find their caches, so that downloads are seen and none is made twice.

An app uses its user's caches, with the models in them. Only where nothing covers the user's folders, and
a cache is empty, it gets a new folder: the trace then leaves the user's folders as they are.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preheat.core.cache_variables import (
    CACHE_VARIABLES,
    HF_HUB_CACHES,
    MODELSCOPE_CACHE,
    TORCH_HOME,
    XDG_CACHE_HOME,
    hf_home,
    new_caches,
)

_HF_INSIDE = frozenset(name for name in CACHE_VARIABLES if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_")))


@dataclass(frozen=True, slots=True)
class TracedCaches:
    """The folder of each cache by its variable, those of them that are `new`, and the variables to remove."""

    folders: Mapping[str, str]
    new: Mapping[str, str]
    removed: frozenset[str]


def traced_caches(environ: Mapping[str, str], home: Path | None, workplace: Path, *, covered: bool) -> TracedCaches:
    """Return the caches for a trace. `covered`: what the app writes to the user's folders is dropped in the end."""
    fresh = new_caches(workplace)
    if home is None:
        return TracedCaches(fresh, fresh, CACHE_VARIABLES)
    cache = Path(environ.get(XDG_CACHE_HOME) or home / ".cache")
    own = {
        "HF_HOME": hf_home(environ, home),
        MODELSCOPE_CACHE: Path(environ.get(MODELSCOPE_CACHE) or cache / "modelscope"),
        TORCH_HOME: Path(environ.get(TORCH_HOME) or cache / "torch"),
        XDG_CACHE_HOME: cache,
    }
    hubs = [Path(environ[name]) for name in HF_HUB_CACHES if environ.get(name)]
    new = {name: fresh[name] for name, folder in own.items() if not covered and not _holds(folder)}
    if any(map(_holds, hubs)):
        new.pop("HF_HOME", None)
    removed = frozenset(new) | (_HF_INSIDE if "HF_HOME" in new else frozenset())
    folders = {name: new.get(name) or str(folder) for name, folder in own.items()}
    if hubs and "HF_HOME" not in new:
        folders[HF_HUB_CACHES[0]] = str(hubs[0])
    return TracedCaches(folders, new, removed)


def _holds(folder: Path) -> bool:
    """Return whether a folder exists and has an entry."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
