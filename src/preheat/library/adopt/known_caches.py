"""Known caches: the folders where other programs of this user keep models, and the file of a model in them."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preheat.core.cache_variables import (
    HF_HUB_CACHES,
    MODELSCOPE_CACHE,
    OLLAMA_MODELS,
    TORCH_HOME,
    XDG_CACHE_HOME,
    hf_home,
)
from preheat.core.ref import HUGGING_FACE, MODELSCOPE, URL, Ref
from preheat.core.snapshot import File


@dataclass(frozen=True, slots=True)
class KnownCaches:
    """The caches of huggingface_hub, ModelScope, and of programs that download by URL: openai-whisper and torch.hub.

    `ollama` has files of any hub, by their sha256.
    """

    hugging_face: Path
    modelscope: Path
    by_url: tuple[Path, ...]
    ollama: Path

    def folders(self, ref: Ref, commit: str) -> tuple["ModelFolder", ...]:
        """Return the folders that may have files of a model; a few stat(2) calls."""
        # Path.is_dir raises PermissionError in a folder that another user has closed, as Ollama's own user does.
        return tuple(one for one in self._places(ref, commit) if os.path.isdir(one.folder))  # noqa: PTH112

    def _places(self, ref: Ref, commit: str) -> Iterator["ModelFolder"]:
        if ref.hub == HUGGING_FACE:
            repo = self.hugging_face / ref.slug
            yield ModelFolder(repo / "blobs", by_digest=True)
            yield ModelFolder(repo / "snapshots" / commit)  # regular files, where symlinks are not supported
        elif ref.hub == MODELSCOPE:
            owner, _, name = ref.repo.partition("/")
            for base in (self.modelscope, *(self.modelscope / one for one in ("models", "hub", "hub/models"))):
                for one in dict.fromkeys((name, name.replace(".", "___"))):
                    yield ModelFolder(base / owner / one)
                yield ModelFolder(base / f"{owner}--{name}" / "snapshots" / ref.revision)
        elif ref.hub == URL:
            yield from map(ModelFolder, self.by_url)
        yield ModelFolder(self.ollama / "blobs", by_digest=True, prefix="sha256-")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with files of a model, by their paths; with `by_digest`, by `prefix` and the digits of their digests."""

    folder: Path
    by_digest: bool = False
    prefix: str = ""

    def find(self, file: File) -> Path | None:
        """Return the path, without symlinks, of a regular file of the right size; its bytes need not be right."""
        try:
            end = os.path.realpath(
                self.folder / (self.prefix + file.digest.hex if self.by_digest else file.path), strict=True
            )
            status = os.stat(end)  # noqa: PTH116 - faster for thousands of files
        except OSError:
            return None
        return Path(end) if stat.S_ISREG(status.st_mode) and status.st_size == file.size else None


def known_caches(environ: Mapping[str, str], home: Path) -> KnownCaches:
    """Return the caches that the programs would use in this environment."""
    cache = Path(environ.get(XDG_CACHE_HOME) or home / ".cache")
    hubs = (environ[name] for name in HF_HUB_CACHES if environ.get(name))
    return KnownCaches(
        Path(next(hubs, hf_home(environ, home) / "hub")),
        # The clients ignore XDG_CACHE_HOME.
        Path(environ.get(MODELSCOPE_CACHE) or home / ".cache" / "modelscope"),
        (cache / "whisper", Path(environ.get(TORCH_HOME) or cache / "torch") / "hub" / "checkpoints"),
        Path(environ.get(OLLAMA_MODELS) or home / ".ollama" / "models"),
    )
