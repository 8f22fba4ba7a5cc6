"""Ollama stores: read the models in Ollama's store, whose files are named by their sha256.

The format is described in views/app_layouts/ollama.py. Both `manifests` and `manifests-v2` are read; the latter has
symlinks to blobs. A model, its projectors and its adapters become versions of their addresses in the registry that
Ollama downloads from, so that the library can download them again. Their files are named by model and tag.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from preheat.core.digest import sha256
from preheat.disk.regular_file import read_regular
from preheat.library.adopt.caches import CachedVersion, Candidate, InvalidEntry, ref_of, resolved

_MOST = 1 << 20  # bytes of a manifest
_MANIFESTS = ("manifests-v2", "manifests")
_LAYER = "application/vnd.ollama.image."
_PREFIXES = {"model": "", "projector": "mmproj-", "adapter": "adapter-"}
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
# Manifests that preheat wrote for a model that no registry has: the library has it.
_OWN_HOST = "preheat.local"


class _LayerFacts(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int


class _Manifest(msgspec.Struct, rename="camel"):
    layers: list[_LayerFacts] = []


def is_store(folder: Path) -> bool:
    """Return whether a folder is a store of Ollama."""
    return (folder / "blobs").is_dir() and any((folder / name).is_dir() for name in _MANIFESTS)


def read_store(store: Path) -> Iterator[CachedVersion | InvalidEntry]:
    """Yield each file of the store's models as a version of its address, and InvalidEntry for what cannot be read.

    A file that several models or tags have is yielded once.
    """
    seen: set[str] = set()
    names: set[tuple[str, ...]] = set()
    for root in (store / name for name in _MANIFESTS):
        for path in sorted(root.glob("*/*/*/*")):
            name = path.relative_to(root).parts
            if name in names or name[0] == _OWN_HOST or path.is_dir():
                continue
            names.add(name)
            yield from _read_manifest(path, name, store, seen)


def _read_manifest(
    path: Path, name: tuple[str, ...], store: Path, seen: set[str]
) -> Iterator[CachedVersion | InvalidEntry]:
    source = resolved(path, store)
    if isinstance(source, InvalidEntry):
        yield source
        return
    try:
        manifest = msgspec.json.decode(read_regular(source, _MOST), type=_Manifest)
    except (OSError, msgspec.DecodeError, RecursionError):
        yield InvalidEntry(path, "it is not a manifest of Ollama")
        return
    if not all(_PART.fullmatch(part) for part in name):
        yield InvalidEntry(path, "its name is invalid for a model")
        return
    host, owner, model, tag = name
    for layer in manifest.layers:
        kind = layer.media_type.removeprefix(_LAYER)
        digest = _DIGEST.fullmatch(layer.digest)
        if kind not in _PREFIXES or (digest is not None and digest[1] in seen):
            continue
        ref = ref_of(f"https://{host}/v2/{owner}/{model}/blobs/{layer.digest}#sha256={layer.digest[7:]}")
        if digest is None or ref is None:
            yield InvalidEntry(path, "it names a file without a sha256")
            continue
        seen.add(digest[1])
        place = store / "blobs" / f"sha256-{digest[1]}"
        if not os.path.lexists(place):
            yield InvalidEntry(place, f"it is missing, and the manifest {'/'.join(name)} names it")
            continue
        blob = resolved(place, store)
        if isinstance(blob, InvalidEntry):
            yield blob
            continue
        candidate = Candidate(f"{_PREFIXES[kind]}{model}-{tag}.gguf".replace(":", "-"), blob, sha256(digest[1]))
        yield CachedVersion(ref, ref.revision, (), (candidate,))
