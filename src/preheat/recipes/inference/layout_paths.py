"""Layout paths: find the cache layout and folder that a path belongs to."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from preheat.core.cache_variables import TORCH_HOME, XDG_CACHE_HOME

HF_CACHE, MODELSCOPE, MODELSCOPE_OLD = "hf-cache", "modelscope", "modelscope-old"
FLAT, LOCAL_DIR, WHISPER, TORCH_HUB = "flat", "local-dir", "whisper", "torch-hub"
HUB_LAYOUTS = frozenset((HF_CACHE, MODELSCOPE, MODELSCOPE_OLD))

_HF = re.compile(r"(?P<base>.*)/(?:models|datasets|spaces)--[^/]+/(?:snapshots/[0-9a-f]{40}/|blobs/[0-9a-f]{40,64}$)")
_MODELSCOPE = re.compile(r"(?P<base>.*)/(?:models|datasets)/[^/]+--[^/]+/snapshots/[^/]+/")


@dataclass(frozen=True, slots=True)
class LayoutPath:
    """A layout and its folder; `name` is the file's name there, if it differs from the one in the repository."""

    view: str
    base: str
    name: str = ""


def place_of(path: str, file: str, repo: str, local_dirs: Collection[str]) -> LayoutPath:
    """Return the layout and folder in which `path` is `file` of the repository `repo`."""
    if found := _HF.match(path):
        return LayoutPath(HF_CACHE, found["base"])
    if found := _MODELSCOPE.match(path):
        return LayoutPath(MODELSCOPE, found["base"])
    owner, _, name = repo.rpartition("/")
    for named in {name, name.replace(".", "___")}:
        if path.endswith(old := f"/models/{owner}/{named}/{file}"):
            return LayoutPath(MODELSCOPE_OLD, path[: -len(old)])
    if path.endswith(f"/{file}"):
        base = path[: -len(file) - 1]
        return LayoutPath(LOCAL_DIR if base in local_dirs else FLAT, base)
    base, _, own = path.rpartition("/")
    return LayoutPath(FLAT, base, own)


def special(path: str, caches: Mapping[str, str]) -> LayoutPath | None:
    """Return the layout if `path` is in whisper's or torch hub's folder of the app's `caches`; else None."""
    for variable, view, below in ((XDG_CACHE_HOME, WHISPER, "whisper"), (TORCH_HOME, TORCH_HUB, "hub/checkpoints")):
        base = caches.get(variable)
        if base is not None and path.rpartition("/")[0] == f"{base}/{below}":
            return LayoutPath(view, base)
    return None


def within(path: str, folder: str) -> str | None:
    """Return the path relative to `folder`; None if it is not inside."""
    if path == folder:
        return ""
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else None
