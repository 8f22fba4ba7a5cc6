"""Inspection: the lock of a built image, and the hash of every file above the base."""

from collections.abc import Callable
from dataclasses import dataclass, field

from preheat.core.digest import GIT_SHA1, SHA256, Digest, hasher
from preheat.oci.config.base_files import reading_layer
from preheat.oci.layers.overlay import normal
from preheat.oci.layers.tar_reader import FILE, Damaged, TarEntries
from preheat.oci.layers.view_entries import HOME
from preheat.oci.model.content import CHUNK, Content
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import Image

_LOCK = f"{HOME}/preheat.lock"
_LARGEST_LOCK = 64 << 20
_SMALL = 64 << 20
_BY = "preheat build"


@dataclass(frozen=True, slots=True)
class Inspected:
    """An image's lock, as text, and the digests of all its files, by both algorithms that a lock may use."""

    lock: str = ""
    digests: frozenset[Digest] = field(default_factory=frozenset)


def inspect(image: Image, content: Callable[[Descriptor], Content], on_bytes: Callable[[int], None]) -> Inspected:
    """Hash all files in the layers that `build` added. Raise ImageError if a layer cannot be read.

    After each chunk that was hashed, `on_bytes` is called with the chunk's size in bytes.
    """
    lock, digests = "", set()
    for layer in own_layers(image):
        # All files are hashed one by one, so the layer's digest need not be verified.
        with reading_layer(content(layer), layer.media_type, "build the image again", verified=False) as archive:
            for entry in archive:
                name = normal(entry.name)
                if name == _LOCK and entry.kind == FILE:
                    if entry.size > _LARGEST_LOCK:
                        raise Damaged("its lock is too large")
                    lock = archive.read(entry.size).decode("utf-8", "replace")
                elif entry.kind == FILE:
                    digests |= _hashed(archive, name, entry.size, on_bytes)
    return Inspected(lock, frozenset(digests))


def own_layers(image: Image) -> list[Descriptor]:
    """Return the layers that `build` added to the base, or all layers if the history is incomplete."""
    made_by = _makers(image)
    if len(made_by) != len(image.layers):
        return list(image.layers)
    return [layer for layer, by in zip(image.layers, made_by, strict=True) if by.startswith(_BY)]


def has_empty_base(image: Image) -> bool:
    """Return whether `build` made all layers, on scratch; False if the history is incomplete."""
    made_by = _makers(image)
    return len(made_by) == len(image.layers) and all(by.startswith(_BY) for by in made_by)


def _makers(image: Image) -> list[str]:
    """Return what made each layer, as the image's history has it."""
    history = image.config.get("history")
    made = [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
    return [str(one.get("created_by", "")) for one in made if not one.get("empty_layer")]


def _hashed(file: TarEntries, name: str, size: int, on_bytes: Callable[[int], None]) -> set[Digest]:
    """Return a file's SHA-256, and its git hash if it is small or its path names one."""
    algorithms = [SHA256, GIT_SHA1] if size <= _SMALL or f"/{GIT_SHA1}/" in name else [SHA256]
    hashes = [(algorithm, hasher(algorithm, size)) for algorithm in algorithms]
    while chunk := file.read(CHUNK):
        on_bytes(len(chunk))
        for _, one in hashes:
            one.update(chunk)
    return {Digest(algorithm, one.hexdigest()) for algorithm, one in hashes}
