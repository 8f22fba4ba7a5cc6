"""Cache variables: the environment variables by which download libraries find their caches."""

from collections.abc import Mapping
from pathlib import Path

HF_HUB_CACHES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")  # the second one is read by huggingface_hub before 0.17
MODELSCOPE_CACHE, TORCH_HOME, XDG_CACHE_HOME = "MODELSCOPE_CACHE", "TORCH_HOME", "XDG_CACHE_HOME"
OLLAMA_MODELS = "OLLAMA_MODELS"
# The roots, each with a short name for its folder.
CACHE_ROOTS = {"HF_HOME": "hf", MODELSCOPE_CACHE: "modelscope", TORCH_HOME: "torch", XDG_CACHE_HOME: "cache"}
_TRANSFORMERS_CACHE = "TRANSFORMERS_CACHE"
# Each of these names the cache of some files, and takes precedence over the roots: left set, it would lead a library to
# the user's cache.
_INSIDE = (*HF_HUB_CACHES, _TRANSFORMERS_CACHE, "HF_DATASETS_CACHE", "HF_ASSETS_CACHE", "HF_XET_CACHE")
CACHE_VARIABLES = frozenset((*CACHE_ROOTS, *_INSIDE))


def new_caches(folder: Path) -> dict[str, str]:
    """Return the variables that lead all libraries to caches below `folder`; `CACHE_VARIABLES` must be unset before."""
    return {variable: str(folder / name) for variable, name in CACHE_ROOTS.items()}


def lead_to_views(environ: Mapping[str, str], views: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with the variables of placed views.

    transformers before 5 prefers TRANSFORMERS_CACHE to HF_HUB_CACHE; if it is set, it gets the same value.
    """
    hub_cache = views.get(HF_HUB_CACHES[0])
    older = {_TRANSFORMERS_CACHE: hub_cache} if hub_cache and environ.get(_TRANSFORMERS_CACHE) else {}
    return {**environ, **views, **older}


def hf_home(environ: Mapping[str, str], home: Path) -> Path:
    """Return the folder of Hugging Face's tools, as huggingface_hub/constants.py does."""
    cache = Path(environ.get(XDG_CACHE_HOME) or home / ".cache")
    return Path(environ.get("HF_HOME") or cache / "huggingface")
