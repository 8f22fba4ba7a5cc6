"""View names: look up a layout by the name that users type."""

from preheat.core.errors import UsageError, did_you_mean
from preheat.views.view_protocol import View

VIEWS = ("hf-cache", "local-dir", "modelscope", "modelscope-old", "flat", "whisper", "torch-hub")


def choose_view(kind: str, ways: tuple[str, ...]) -> View:
    """Return the layout `kind`, to be linked in the first of `ways` that works; raise UsageError if it is unknown.

    Imports this layout only: an app waits for the imports of its start.
    """
    match kind:
        case "hf-cache":
            from preheat.views.layouts.huggingface import HuggingFaceCache

            return HuggingFaceCache(ways)
        case "local-dir":
            from preheat.views.layouts.local_dir import LocalDir

            return LocalDir(ways)
        case "modelscope":
            from preheat.views.layouts.modelscope import ModelScopeCache

            return ModelScopeCache(ways)
        case "modelscope-old":
            from preheat.views.layouts.modelscope_old import OldModelScopeCache

            return OldModelScopeCache(ways)
        case "flat":
            from preheat.views.layouts.flat import Flat

            return Flat(ways)
        case "whisper":
            from preheat.views.layouts.whisper import Whisper

            return Whisper(ways)
        case "torch-hub":
            from preheat.views.layouts.torch_hub import TorchHub

            return TorchHub(ways)
        case _:
            hint = f"{did_you_mean(kind, VIEWS)}the views are {', '.join(VIEWS)}"
            raise UsageError(f"{kind!r} is not a view", hint=hint)
