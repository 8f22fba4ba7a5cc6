"""View names: look up a layout by the name that users type."""

from preheat.core.errors import UsageError
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.layouts.torch_hub import TorchHub
from preheat.views.layouts.whisper import Whisper
from preheat.views.view_protocol import View


def choose_view(kind: str, ways: tuple[str, ...]) -> View:
    """Return the layout `kind`, to be linked in the first of `ways` that works; raise UsageError if it is unknown."""
    match kind:
        case "hf-cache":
            return HuggingFaceCache(ways)
        case "local-dir":
            return LocalDir(ways)
        case "modelscope":
            return ModelScopeCache(ways)
        case "modelscope-old":
            return OldModelScopeCache(ways)
        case "flat":
            return Flat(ways)
        case "whisper":
            return Whisper(ways)
        case "torch-hub":
            return TorchHub(ways)
        case _:
            raise UsageError(
                f"{kind!r} is not a view",
                hint="hf-cache, local-dir, modelscope, modelscope-old, flat, whisper or torch-hub",
            )
