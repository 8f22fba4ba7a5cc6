"""By repository: apps in which the files of a model lie together: LM Studio, text-generation-webui, llama.cpp.

LM Studio (lms, importCmd.ts), DIR is its folder of models:

    DIR/OWNER/NAME/PATH

text-generation-webui (download-model.py, modules/utils.py), DIR is its installation, or its folder `user_data/models`:

    DIR/user_data/models/NAME.gguf                  a GGUF model of one file
    DIR/user_data/models/NAME/NAME-00001-of-…       of several parts
    DIR/user_data/mmproj/mmproj-….gguf              projectors
    DIR/user_data/models/OWNER_NAME/PATH            any other model, with its configurations
    DIR/user_data/loras/OWNER_NAME/PATH             a repository with `adapter_config.json`

llama.cpp, DIR is for `llama-server --models-dir` (tools/server/README.md); `-hf` looks in Hugging Face's cache instead:

    DIR/NAME.gguf
    DIR/NAME/NAME-00001-of-…                        of several parts, or with a projector, named `mmproj…`
"""

from collections.abc import Sequence
from pathlib import Path

from preheat.core.errors import LibraryError
from preheat.core.snapshot import File, Snapshot
from preheat.desk.model_apps import GGUF, LANGUAGE, LORA
from preheat.views.app_layouts.model_names import GgufModel, gguf_models, is_model, last_name, owner_and_name
from preheat.views.app_layouts.model_reader import ModelReader
from preheat.views.view_protocol import Piece, PlacedFile, SortedFile

PROJECTOR = "projector"


class LmStudio:
    """See AppView."""

    kind = "lm-studio"
    renames = False
    edited = False

    def __init__(self, ways: Sequence[str]) -> None:
        self.ways = ways

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - a folder has no list of missing files
        """See View."""
        owner, name = owner_and_name(snapshot.ref)
        visible = (file for file in snapshot.files if not file.path.startswith("."))
        return tuple(PlacedFile(at / owner / name / file.path, file) for file in visible)

    def sort(self, snapshot: Snapshot, at: Path) -> tuple[SortedFile, ...]:  # noqa: ARG002 - no file depends on its kind
        """See AppView."""
        return ()

    def environ(self, at: Path) -> dict[str, str]:  # noqa: ARG002 - its settings name the folder
        """See View."""
        return {}


class LlamaCpp:
    """See AppView."""

    kind = "llama-cpp"
    renames = False
    edited = False

    def __init__(self, reader: ModelReader, ways: Sequence[str]) -> None:
        self.ways = ways
        self._reader = reader

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - only the GGUF files
        """See View. Raise LibraryError if the snapshot has no GGUF model."""
        return _pieces(snapshot, self.sort(snapshot, at), "llama.cpp")

    def sort(self, snapshot: Snapshot, at: Path) -> tuple[SortedFile, ...]:
        """See AppView."""
        models, projectors = gguf_models(snapshot.files, self._reader)
        found = []
        for model in models:
            apart = len(model.files) > 1 or bool(projectors)
            folder = at / model.name if apart else at
            found += [SortedFile(file, GGUF, folder / last_name(file)) for file in model.files]
            # It uses the first file whose name begins with mmproj.
            found += [SortedFile(file, PROJECTOR, folder / _projector_name(file)) for file in projectors[:1]]
        return tuple(found)

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {"LLAMA_ARG_MODELS_DIR": str(at)}


class TextGeneration:
    """See AppView. People edit the configurations, so that small files are separate."""

    kind = "text-generation-webui"
    renames = False
    edited = True

    def __init__(self, reader: ModelReader, ways: Sequence[str]) -> None:
        self.ways = ways
        self._reader = reader

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - a folder has no list of missing files
        """See View."""
        return _pieces(snapshot, self._files(snapshot, at), self.kind)

    def sort(self, snapshot: Snapshot, at: Path) -> tuple[SortedFile, ...]:
        """See AppView."""
        return tuple(one for one in self._files(snapshot, at) if is_model(one.file))

    def _files(self, snapshot: Snapshot, at: Path) -> tuple[SortedFile, ...]:
        data = at.parent if at.name == "models" else at / "user_data"
        models, projectors = gguf_models(snapshot.files, self._reader)
        if models or projectors:
            found = [
                SortedFile(file, GGUF, _gguf_folder(model, data / "models") / last_name(file))
                for model in models
                for file in model.files
            ]
            found += [SortedFile(file, PROJECTOR, data / "mmproj" / last_name(file)) for file in projectors]
            return tuple(found)
        is_adapter = any(file.path == "adapter_config.json" for file in snapshot.files)
        kind, folder = (LORA, "loras") if is_adapter else (LANGUAGE, "models")
        own = data / folder / "_".join(owner_and_name(snapshot.ref))
        visible = (file for file in snapshot.files if not file.path.startswith("."))
        return tuple(SortedFile(file, kind, own / file.path) for file in visible)

    def environ(self, at: Path) -> dict[str, str]:  # noqa: ARG002 - the app knows its folder
        """See View."""
        return {}


def _gguf_folder(model: GgufModel, models: Path) -> Path:
    return models / model.name if len(model.files) > 1 else models


def _pieces(snapshot: Snapshot, files: Sequence[SortedFile], title: str) -> tuple[Piece, ...]:
    if not files:
        raise LibraryError(f"{snapshot.ref} has no GGUF model, which {title} needs", hint="--files '*.gguf'")
    return tuple(PlacedFile(one.at, one.file) for one in files if one.at is not None)


def _projector_name(file: File) -> str:
    name = last_name(file)
    return name if name.startswith("mmproj") else f"mmproj-{name}"
