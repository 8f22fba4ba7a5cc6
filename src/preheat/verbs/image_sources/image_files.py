"""Image files: the files in the layers of one image, found by their digests."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import ImageError, NoRanges, NotFound
from preheat.core.snapshot import File
from preheat.oci.config.base_image import manifest_document
from preheat.oci.layers.parallel import map_parallel
from preheat.oci.layers.view_entries import HOME
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import Manifest, choose, read_manifest
from preheat.oci.model.interfaces import ImageSource
from preheat.oci.model.platform import Platform
from preheat.verbs.image_sources.layer_files import (
    SPOOLED,
    LayerFile,
    OpenLayer,
    files_by_download,
    files_by_headers,
    is_compressed,
    raw_file,
)

_LOCK, _LARGEST_LOCK = f"{HOME}/preheat.lock", 256 << 20
_PARALLEL = 8
_NO_LOCK = "to pin the files: preheat lock; or pull without --from"


@dataclass(frozen=True, slots=True)
class _Step:
    """Layers to read together, and how. `own`: small ones, one of which has preheat's own files, with the lock."""

    read: Callable[[Descriptor], tuple[LayerFile, ...]]
    layers: tuple[Descriptor, ...]
    own: bool = False


class ImageFiles:
    """The files of an image. Thread-safe. Layers are read when a file is looked for that no layer so far has.

    `ask` requests a part of a layer; `aside` is the folder for temporary files. Methods raise HubError for layers that
    cannot be read, ImageError for an image that cannot.
    """

    def __init__(self, source: ImageSource, ask: OpenLayer, aside: Path | None) -> None:
        self.source = source
        self._ask = ask
        self._aside = aside
        self._turn = threading.Lock()
        self._unread: list[_Step] | None = None
        self._by_size: dict[int, list[LayerFile]] = {}
        self._lock: LayerFile | None = None

    def find(self, files: Sequence[File]) -> dict[File, LayerFile]:
        """Return where the image has each of `files`; those that it lacks are left out.

        Of large layers, only the headers are read. Then small layers and at last compressed ones are downloaded, one
        after the other, as an image may have a small file several times.
        """
        with self._turn:
            found = {file: at for file in files if (at := self._at(file)) is not None}
            lacking = [file for file in files if file not in found]
            while lacking and self._read_more():
                found |= {file: at for file in lacking if (at := self._at(file)) is not None}
                lacking = [file for file in lacking if file not in found]
            return found

    def lock(self) -> bytes:
        """Return the text of the image's own lock. Raise NotFound if it has none."""
        with self._turn:
            while self._lock is None and self._read_more(for_lock=True):
                pass
            file = self._lock
            if file is None or file.spool is None or file.size > _LARGEST_LOCK:
                raise NotFound(f"{self.source.name} does not contain a lock, as images of preheat do", hint=_NO_LOCK)
            file.spool.seek(file.at)
            return file.spool.read(file.size)

    def _at(self, file: File) -> LayerFile | None:
        return next((one for one in self._by_size.get(file.size, ()) if one.may_be(file)), None)

    def _read_more(self, *, for_lock: bool = False) -> bool:
        """Read the next layers; return whether there were any. The lock is in one of the layers above."""
        if self._unread is None:
            self._unread = self._plan(self._manifest().layers)
        if not self._unread:
            return False
        own = [step for step in self._unread if step.own] if for_lock else []
        step = own[-1] if own else self._unread[0]
        self._unread.remove(step)
        for files in map_parallel(step.read, step.layers, _PARALLEL):
            for file in files:
                self._by_size.setdefault(file.size, []).append(file)
                if file.path == _LOCK:
                    self._lock = file
        return True

    def _plan(self, layers: Iterable[Descriptor]) -> list[_Step]:
        """Return the steps to read the layers: those that cost little first."""
        layers = tuple(layers)
        raw = tuple(layer for layer in layers if raw_file(layer) is not None)
        packed = {layer.digest: layer for layer in layers if raw_file(layer) is None}.values()
        compressed = [layer for layer in packed if is_compressed(layer)]
        tars = [layer for layer in packed if not is_compressed(layer)]
        large = tuple(layer for layer in tars if layer.size > SPOOLED)
        return [
            *([_Step(_raw, raw)] if raw else []),
            *([_Step(self._headers, large)] if large else []),
            *(_Step(self._download, (layer,), own=True) for layer in tars if layer.size <= SPOOLED),
            *(_Step(self._download, (layer,)) for layer in reversed(compressed)),
        ]

    def _headers(self, layer: Descriptor) -> tuple[LayerFile, ...]:
        try:
            found = files_by_headers(layer, self._ask)
        except NoRanges:
            found = None
        return self._download(layer) if found is None else found

    def _download(self, layer: Descriptor) -> tuple[LayerFile, ...]:
        return files_by_download(layer, self.source.content(layer, f"layer {layer.digest}"), self._aside)

    def _manifest(self) -> Manifest:
        return read_manifest(manifest_document(self.source, self._pick), self.source.name)

    def _pick(self, index: list[Descriptor]) -> Descriptor:
        try:
            return choose(index, Platform.here(), self.source.name)
        except ImageError:
            if not index:
                raise
            return index[0]  # weights are the same on each platform


def _raw(layer: Descriptor) -> tuple[LayerFile, ...]:
    file = raw_file(layer)
    return () if file is None else (file,)
