"""View names: look up a layout by the name that users type."""

from collections.abc import Callable, Mapping

from preheat.core.errors import UsageError, did_you_mean
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.layouts.torch_hub import TorchHub
from preheat.views.layouts.whisper import Whisper
from preheat.views.view_protocol import View

_LAYOUTS = (HuggingFaceCache, LocalDir, ModelScopeCache, OldModelScopeCache, Flat, Whisper, TorchHub)
VIEWS: Mapping[str, Callable[[tuple[str, ...]], View]] = {layout.kind: layout for layout in _LAYOUTS}


def choose_view(kind: str, ways: tuple[str, ...]) -> View:
    """Return the layout `kind`, to be linked in the first of `ways` that works; raise UsageError if it is unknown."""
    if kind not in VIEWS:
        raise UsageError(f"{kind!r} is not a view", hint=f"{did_you_mean(kind, VIEWS)}the views are {', '.join(VIEWS)}")
    return VIEWS[kind](ways)
