"""Ollama: the layout of Ollama's store of models, from GGUF files.

As its manifest/manifest.go, manifest/layer.go, types/model/name.go and config.go have it:

    blobs/sha256-HEX                            each file by its sha256: the model, and small ones as below
    manifests/HOST/OWNER/NAME/TAG               JSON, as a manifest of docker:
        config      {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:HEX", "size": N}
        layers      the same with "application/vnd.ollama.image." and model, projector, template, system or params

HOST is `hf.co` or `modelscope.cn`, as for `ollama pull hf.co/OWNER/NAME:TAG`, so that Ollama sees its own download; for
files of another origin it is `preheat.local`. TAG is the quantization in the file's name, else that name; `latest` is
the only model or, as at Hugging Face, the one with Q4_K_M. `template`, `system` and `params` are files with these
names in the repository (hub docs, ollama.md); without a `template`, Ollama passes on prompts as they are.

Ollama looks in `manifests-v2` first, where newer versions write. At its start it deletes blobs that no manifest names.
A model in several parts is not placed.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from preheat.core.cache_variables import OLLAMA_MODELS
from preheat.core.errors import LibraryError
from preheat.core.ref import HUGGING_FACE, MODELSCOPE, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.desk.model_apps import GGUF
from preheat.views.app_layouts.by_repository import PROJECTOR
from preheat.views.app_layouts.model_names import GgufModel, gguf_models, owner_and_name
from preheat.views.app_layouts.model_reader import ModelReader
from preheat.views.app_layouts.own_content import OwnContent
from preheat.views.view_protocol import Piece, PlacedFile, SortedFile, ViewNote

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.ollama.image."
_TEXTS = ("template", "system", "params")
_HOSTS = {HUGGING_FACE: "hf.co", MODELSCOPE: "modelscope.cn"}
_OTHER_HOST = "preheat.local"
_LATEST, _PREFERRED = "latest", "Q4_K_M"
_LONGEST = 80  # characters of a name's part


@dataclass(frozen=True, slots=True)
class _Layer:
    media_type: str
    hex: str
    size: int

    @property
    def facts(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": f"sha256:{self.hex}", "size": self.size}


class OllamaStore:
    """See AppView. `at` is a store: OLLAMA_MODELS, by default `~/.ollama/models`."""

    kind = "ollama"
    renames = False
    edited = False

    def __init__(self, reader: ModelReader, ways: Sequence[str]) -> None:
        self.ways = ways
        self._reader = reader

    def layout(self, snapshot: Snapshot, at: Path, *, whole: bool) -> tuple[Piece, ...]:  # noqa: ARG002 - only the GGUF files
        """See View. Raise LibraryError if the snapshot has no GGUF model of one file."""
        models, projectors = self._models(snapshot)
        if not models:
            reasons = "".join(f"\n  {one.file.path}: {one.why}" for one in self.sort(snapshot, at) if one.why)
            raise LibraryError(
                f"{snapshot.ref} has no GGUF model that Ollama can use{reasons and ':' + reasons}",
                hint="--files '*.gguf'",
            )
        blobs = at / "blobs"
        files = {self._blob(blobs, file): file for file in (*(one.files[0] for one in models), *projectors)}
        pieces: list[Piece] = [PlacedFile(path, file) for path, file in files.items()]
        texts = list(self._texts(snapshot))
        pieces += [_small_blob(blobs, body) for _, body in texts]
        below = at / "manifests" / _name(snapshot.ref)
        for tag, model in _tags(models).items():
            layers = [
                _Layer(_LAYER + "model", self._reader.sha256(model.files[0]), model.files[0].size),
                *(_Layer(_LAYER + "projector", self._reader.sha256(file), file.size) for file in projectors),
                *(_Layer(_LAYER + word, sha256(body).hexdigest(), len(body)) for word, body in texts),
            ]
            config = self._config(model, layers, has_projector=bool(projectors))
            described = _Layer(_CONFIG, sha256(config).hexdigest(), len(config))
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": described.facts,
                "layers": [layer.facts for layer in layers],
            }
            pieces.append(_small_blob(blobs, config))
            placed = self._blob(blobs, model.files[0])
            pieces.append(ViewNote(below / tag, OwnContent(json.dumps(manifest).encode()), of=placed, single=True))
        return tuple(pieces)

    def sort(self, snapshot: Snapshot, at: Path) -> tuple[SortedFile, ...]:
        """See AppView."""
        blobs = at / "blobs"
        models, projectors = gguf_models(snapshot.files, self._reader)
        named = [(file, GGUF, _why_not(model)) for model in models for file in model.files]
        named += [
            (file, PROJECTOR, "Ollama loads one projector" if number else "") for number, file in enumerate(projectors)
        ]
        return tuple(SortedFile(file, kind, None if why else self._blob(blobs, file), why) for file, kind, why in named)

    def environ(self, at: Path) -> dict[str, str]:
        """See View."""
        return {OLLAMA_MODELS: str(at)}

    def _models(self, snapshot: Snapshot) -> tuple[list[GgufModel], list[File]]:
        models, projectors = gguf_models(snapshot.files, self._reader)
        return [model for model in models if not _why_not(model)], list(projectors[:1])

    def _blob(self, blobs: Path, file: File) -> Path:
        return blobs / f"sha256-{self._reader.sha256(file)}"

    def _texts(self, snapshot: Snapshot) -> Iterator[tuple[str, bytes]]:
        by_path = {file.path: file for file in snapshot.files}
        for word in _TEXTS:
            if word in by_path:
                yield word, self._reader.text(by_path[word])

    def _config(self, model: GgufModel, layers: Sequence[_Layer], *, has_projector: bool) -> bytes:
        seen = self._reader.look(model.files[0])
        family = seen.architecture or "unknown"
        config = {
            "model_format": "gguf",
            "model_family": family,
            "model_families": [family, *(["clip"] if has_projector else [])],
            "model_type": seen.size_label or "unknown",
            "file_type": model.quantization or "unknown",
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.hex}" for layer in layers]},
        }
        return json.dumps(config).encode()


def _small_blob(blobs: Path, body: bytes) -> ViewNote:
    return ViewNote(blobs / f"sha256-{sha256(body).hexdigest()}", OwnContent(body), single=True)


def _why_not(model: GgufModel) -> str:
    """Return why Ollama cannot use a model; empty if it can."""
    return "it has several parts, and Ollama loads one file" if len(model.files) > 1 else ""


def _tags(models: Sequence[GgufModel]) -> dict[str, GgufModel]:
    """Return the models by their tags. Two with the same quantization are told apart by their names."""
    tags: dict[str, GgufModel] = {}
    for model in models:
        quantization = model.quantization
        alone = sum(other.quantization == quantization for other in models) == 1
        tags[quantization if quantization and alone else _part(model.name)] = model
    latest = models[0] if len(models) == 1 else tags.get(_PREFERRED)
    return tags | ({_LATEST: latest} if latest is not None else {})


def _name(ref: Ref) -> Path:
    """Return the host, owner and name of a model as the path of its manifests."""
    owner, name = owner_and_name(ref)
    return Path(_HOSTS.get(ref.hub, _OTHER_HOST), _part(owner).replace(".", "-"), _part(name))


def _part(text: str) -> str:
    """Return a valid part of a name: letters, digits, `-`, `_` and `.`, at first a letter, a digit or `_`."""
    return re.sub(r"[^A-Za-z0-9_.-]|\.(?=\.)", "-", text)[:_LONGEST].lstrip(".-") or "model"
