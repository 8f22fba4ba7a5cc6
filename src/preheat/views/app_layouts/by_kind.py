"""By kind: apps that have a folder for each kind of model: ComfyUI, AUTOMATIC1111, SwarmUI and their kin.

    DIR/models/checkpoints/sd_xl_base_1.0.safetensors       DIR is the app's installation, or its folder of models
    DIR/models/vae/REPOSITORY/vae/diffusion_pytorch_model.safetensors

The folders are those in `desk.model_apps`. A file keeps its name, by which workflows and prompts refer to it. A file
with a generic name, or with that of another file, lies in a folder with the repository's name: all these apps list
subfolders. `comfyui-paths` is a folder beside the installation, with the file that adds it to ComfyUI's own:

    DIR/checkpoints/…                   the same folders
    DIR/extra_model_paths.yaml          for `main.py --extra-model-paths-config` (utils/extra_config.py)

InvokeAI records models in a database: it adds those in a folder with `Scan Folder`, and then uses them in place.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from preheat.core.errors import LibraryError, UsageError
from preheat.core.snapshot import File, Snapshot
from preheat.desk.model_apps import KINDS, ModelApp
from preheat.views.app_layouts.model_names import is_generic, is_model, is_part, last_name, owner_and_name
from preheat.views.app_layouts.model_reader import ModelReader
from preheat.views.app_layouts.own_content import OwnContent
from preheat.views.view_protocol import Piece, PlacedFile, SortedFile, ViewNote

PATHS_FILE = "extra_model_paths.yaml"


class ByKind:
    """See AppView. `at` is the app's installation, its folder of models, or with `paths` any folder."""

    renames = False
    edited = False

    def __init__(self, kind: str, app: ModelApp, reader: ModelReader, ways: Sequence[str], *, paths: bool) -> None:
        self.kind = kind
        self.ways = ways
        self._app = app
        self._reader = reader
        self._paths = paths
        self._folders: Mapping[str, str] = app.kinds or {one: one for one in KINDS}

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - only the models of a snapshot
        """See View. Raise LibraryError if the app can use none of the files, or one cannot be read.

        With `paths`, raise UsageError for a folder whose name ComfyUI would read as another one.
        """
        files = self.sort(snapshot, at)
        pieces: list[Piece] = [PlacedFile(one.at, one.file) for one in files if one.at is not None]
        if not pieces:
            reasons = "".join(f"\n  {one.file.path}: {one.why}" for one in files)
            raise LibraryError(
                f"{snapshot.ref} has no file that {self._app.title} can use{reasons and ':' + reasons}",
                hint="name the kind with --model-kind, as in --model-kind lora, and the files with --files",
            )
        if self._paths:
            # ComfyUI replaces $NAME in the path, and reads UTF-8.
            if not str(at).isprintable() or "$" in str(at):
                raise UsageError(
                    f"{str(at)!r} cannot be written to {PATHS_FILE}",
                    hint="use a folder whose name has no $ and no unprintable letters",
                )
            pieces.append(ViewNote(at / PATHS_FILE, self._described(at), single=True))
        return tuple(pieces)

    def sort(self, snapshot: Snapshot, at: Path) -> tuple[SortedFile, ...]:
        """See AppView."""
        root, (_, name) = self._root(at), owner_and_name(snapshot.ref)
        sorted_files = [self._kind(file) for file in snapshot.files if is_model(file)]
        taken = Counter(
            (self._folders[kind], last_name(file).casefold()) for kind, why, file in sorted_files if not why
        )
        return tuple(self._sorted(kind, why, file, root, name, taken) for kind, why, file in sorted_files)

    def environ(self, at: Path) -> dict[str, str]:  # noqa: ARG002 - the app knows its folder
        """See View."""
        return {}

    def _kind(self, file: File) -> tuple[str, str, File]:
        """Return the kind of a file, and why it is not placed; empty if it is."""
        kind = self._reader.kind(file)
        if not kind:
            return "", "its kind is unknown", file
        if kind not in self._folders:
            return kind, f"{self._app.title} has no folder for this kind", file
        return kind, "it is one part of several, and the app loads one file" if is_part(file) else "", file

    def _sorted(
        self, kind: str, why: str, file: File, root: Path, name: str, taken: Mapping[tuple[str, str], int]
    ) -> SortedFile:
        if why:
            return SortedFile(file, kind, None, why)
        folder, last = self._folders[kind], last_name(file)
        alone = not is_generic(file) and taken[folder, last.casefold()] == 1
        below = last if alone else f"{name}/{file.path}"
        return SortedFile(file, kind, Path(os.path.normpath(root / folder / below)))

    def _root(self, at: Path) -> Path:
        """Return the folder of models in an installation; `at` itself if it has that folder's name already."""
        if self._paths or not self._app.folders or not self._app.kinds:
            return at
        first = self._app.folders[0]
        return at if at.name == Path(first).name else at / first

    def _described(self, at: Path) -> OwnContent:
        """Return the content of extra_model_paths.yaml: YAML, of which JSON strings are a part."""
        lines = [f"preheat:\n    base_path: {json.dumps(str(at), ensure_ascii=False)}\n"]
        lines += [f"    {folder}: {folder}\n" for folder in dict.fromkeys(self._folders.values())]
        return OwnContent("".join(lines).encode())
