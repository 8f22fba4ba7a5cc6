"""Model names: which files of a snapshot are models, which belong together, and what a repository is called."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from preheat.core.ref import FOLDER, URL, Ref
from preheat.core.snapshot import File
from preheat.views.app_layouts.model_reader import ModelReader

_MODEL = re.compile(r".*\.(safetensors|sft|ckpt|pth?|bin|gguf)", re.IGNORECASE | re.DOTALL)
_GGUF = re.compile(r".*\.gguf", re.IGNORECASE | re.DOTALL)
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}\.[a-z]+", re.IGNORECASE | re.DOTALL)
# The stems that libraries give to every model.
_GENERIC = frozenset(
    (
        "model",
        "pytorch_model",
        "diffusion_pytorch_model",
        "adapter_model",
        "pytorch_lora_weights",
        "open_clip_model",
        "open_clip_pytorch_model",
        "consolidated",
        "ip_adapter",
        "lora",
        "vae",
    )
)
# Quantizations as GGUF files have them at the end of their names: Q4_K_M, IQ2_XXS, UD-Q4_K_XL, BF16, MXFP4 …
_QUANTIZATION = re.compile(
    r"(?:.*[-_.])?((?:UD-)?I?Q\d(?:_[0-9A-Z]+)*|TQ\d_\d|B?F16|FP?16|F32|MXFP4(?:_MOE)?)", re.IGNORECASE
)
_PROJECTOR_ARCHITECTURE = "clip"


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A model of one GGUF file, or of several parts, in order. `name` is the file's, without its ending."""

    name: str
    files: tuple[File, ...]

    @property
    def quantization(self) -> str:
        """Return the quantization in its name, such as Q4_K_M; empty if it has none."""
        found = _QUANTIZATION.fullmatch(self.name)
        return found[1].upper() if found else ""


def is_model(file: File) -> bool:
    """Return whether a file's name is that of a model's weights."""
    return bool(_MODEL.fullmatch(file.path))


def is_part(file: File) -> bool:
    """Return whether a file is one of several parts of a model."""
    return bool(_PART.fullmatch(file.path))


def is_generic(file: File) -> bool:
    """Return whether libraries give this name to every model, as `model.fp16.safetensors`."""
    return last_name(file).partition(".")[0].casefold() in _GENERIC


def gguf_models(files: Iterable[File], reader: ModelReader) -> tuple[tuple[GgufModel, ...], tuple[File, ...]]:
    """Return the GGUF models of a snapshot, and the projectors, with which models see images or hear.

    Projectors have the architecture `clip`, or a name with `mmproj`.
    """
    models: dict[str, list[File]] = {}
    projectors: list[File] = []
    for file in sorted(files, key=lambda file: file.path):
        if not _GGUF.fullmatch(file.path):
            continue
        if "mmproj" in last_name(file).casefold() or reader.look(file).architecture == _PROJECTOR_ARCHITECTURE:
            projectors.append(file)
            continue
        part = _PART.fullmatch(file.path)
        models.setdefault(part[1] if part else file.path[: -len(".gguf")], []).append(file)
    # The name may become a folder's: a file may be called `...gguf`.
    named = ((_folder(stem.rpartition("/")[2]), some) for stem, some in models.items())
    return tuple(GgufModel(name, tuple(some)) for name, some in named), tuple(projectors)


def owner_and_name(ref: Ref) -> tuple[str, str]:
    """Return the owner and the name of a model, as folders: of an address its host and file, of a folder `local`."""
    if ref.hub == FOLDER:
        return "local", _folder(ref.repo.rstrip("/").rpartition("/")[2])
    if ref.hub == URL:
        return _folder(urlsplit(ref.address).hostname or ""), _folder(ref.file_name.rpartition(".")[0] or ref.file_name)
    owner, _, name = ref.repo.rpartition("/")
    return _folder(owner or ref.hub), _folder(name)


def last_name(file: File) -> str:
    """Return the last segment of a file's path."""
    return file.path.rpartition("/")[2]


def _folder(text: str) -> str:
    """Return a name that is valid for a folder."""
    return re.sub(r"[/\\\x00-\x1f\x7f]", "-", text).strip(".") or "model"
