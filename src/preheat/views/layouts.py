"""Views: a layout by its name."""

from preheat.core.errors import UsageError
from preheat.views.flat import Flat
from preheat.views.huggingface import HuggingFaceCache
from preheat.views.local_dir import LocalDir
from preheat.views.modelscope import ModelScopeCache
from preheat.views.modelscope_old import OldModelScopeCache
from preheat.views.torch_hub import TorchHub
from preheat.views.view import View
from preheat.views.whisper import Whisper


def choose_view(kind: str, ways: tuple[str, ...]) -> View:
    """Choose a layout whose files are linked in the first of these ways that can be; raise UsageError if it is none."""
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
