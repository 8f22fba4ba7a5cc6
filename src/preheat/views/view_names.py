"""View names: look up a layout by the name that users type."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from preheat.core.errors import UsageError, did_you_mean
from preheat.views.links import AUTO, COPY, read_ways
from preheat.views.view_protocol import AppView, View

if TYPE_CHECKING:
    from preheat.desk.model_apps import ModelApp
    from preheat.views.app_layouts.model_reader import ModelReader

VIEWS = ("hf-cache", "local-dir", "modelscope", "modelscope-old", "flat", "whisper", "torch-hub")
_BY_KIND = (
    "comfyui",
    "comfyui-paths",
    "a1111",
    "forge",
    "sdnext",
    "swarmui",
    "fooocus",
    "invokeai",
    "stability-matrix",
    "gpt4all",
)
# Views of apps whose layout depends on the kind of each file.
APP_VIEWS = (*_BY_KIND, "text-generation-webui", "llama-cpp", "lm-studio", "ollama")
# Other names that people type.
OTHER_NAMES = {
    "automatic1111": "a1111",
    "stable-diffusion-webui": "a1111",
    "sd-next": "sdnext",
    "sd.next": "sdnext",
    "lmstudio": "lm-studio",
    "llama.cpp": "llama-cpp",
    "oobabooga": "text-generation-webui",
}
_PATHS = "comfyui-paths"


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
            if kind in APP_VIEWS:
                raise UsageError(
                    f"the view {kind} depends on the kind of each file, so a recipe cannot have it",
                    hint=f"to place it by hand: preheat view {kind} DIR REF",
                )
            views = (*VIEWS, *APP_VIEWS)
            hint = f"{did_you_mean(kind, views)}the views are {', '.join(views)}"
            raise UsageError(f"{kind!r} is not a view", hint=hint)


def choose_folder_view(words: str, link: str, reader: "ModelReader") -> View:
    """Return the layout with this name for a folder that the user names: also one of an app, which `reader` serves.

    `link` is a value of `--link`; `auto` takes the ways that are safe for the app. Raise UsageError for an unknown
    name, or if the user has named a kind of model for a layout without folders by kind.
    """
    folded = words.casefold()
    kind = OTHER_NAMES.get(folded, folded if folded in APP_VIEWS else words)
    if kind not in APP_VIEWS:
        view = choose_view(kind, read_ways(link))
        _require_none_told(kind, reader)
        return view
    return choose_app_view(kind, read_ways(link) if link != "auto" else _safe_ways(app_of_view(kind)), reader)


def app_of_view(kind: str) -> "ModelApp":
    """Return the app that an app's view is for."""
    from preheat.desk.model_apps import app_named

    app = app_named("comfyui" if kind == _PATHS else kind)
    assert app is not None, "each of APP_VIEWS has an app"
    return app


def choose_app_view(kind: str, ways: Sequence[str], reader: "ModelReader") -> AppView:
    """Return the layout of the app's view `kind`, one of APP_VIEWS, whose files `reader` reads.

    Raise UsageError if the user has named a kind of model, and this app has no folders by kind.
    """
    if kind in _BY_KIND:
        from preheat.views.app_layouts.by_kind import ByKind

        return ByKind(kind, app_of_view(kind), reader, ways, paths=kind == _PATHS)
    _require_none_told(kind, reader)
    from preheat.views.app_layouts.by_repository import LlamaCpp, LmStudio, TextGeneration
    from preheat.views.app_layouts.ollama import OllamaStore

    match kind:
        case "lm-studio":
            return LmStudio(ways)
        case "llama-cpp":
            return LlamaCpp(reader, ways)
        case "text-generation-webui":
            return TextGeneration(reader, ways)
        case _:
            return OllamaStore(reader, ways)


def _require_none_told(kind: str, reader: "ModelReader") -> None:
    if reader.told:
        raise UsageError(f"the view {kind} has no folders by kind of model", hint="omit --model-kind")


def _safe_ways(app: "ModelApp") -> tuple[str, ...]:
    """Return the ways to link, or else to copy, that an app accepts without harm to the library."""
    safe = app.safe_links(as_root=os.geteuid() == 0)
    return tuple(way for way in AUTO if way == COPY or way in safe)
