"""Layer files: which files a layer of an image contains, and where their bytes are in it.

Layers of ModelPack are raw files or tars: CNCF model-spec 0.0.7, docs/config.md; its earlier names begin with `cnai`.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from preheat.core.digest import GIT_SHA1, SHA256, Digest, Hasher, hasher
from preheat.core.errors import HubError, ImageError
from preheat.core.snapshot import File
from preheat.core.units import say_size
from preheat.core.values.replace import replace
from preheat.disk.free_space import SPARE, free_bytes
from preheat.oci.config.base_files import readable, reading_layer
from preheat.oci.layers.tar_reader import FILE, Damaged, TarEntries, TarEntry
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import Descriptor

# Layers of at most this size, and those with small files on average, are downloaded at once, to a temporary file.
SPOOLED = 8 << 20
_SMALL_ON_AVERAGE, _SAMPLE = 256 << 10, 64
MOST_FILES = 400_000  # of one image
_WINDOW = 16 << 10
_MOST_RATIO = 100  # of unpacked to compressed size; that of text is about 10
_HEX = re.compile(r"(?:[0-9a-f]{64}|[0-9a-f]{40})")
_PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath")
_RAW = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.[a-z.]*v1\.raw")
_UNPACKED = "push the image with uncompressed layers, as `build` does; or pull without --from"


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file in a layer: its path there, and its `size` bytes from byte `at` on of the uncompressed layer.

    `digests` are known from the bytes or the layer's digest; `named` is a digest's hexadecimal value that is only its
    name. `spool` is the uncompressed layer if it was downloaded; None if the bytes are to be requested from the layer.
    """

    layer: Descriptor
    path: str
    at: int
    size: int
    digests: tuple[Digest, ...] = ()
    spool: IO[bytes] | None = None

    @property
    def named(self) -> str:
        """Return the file's name if that is a digest, as in the library and in caches; else an empty string."""
        name = self.path.rpartition("/")[2]
        return name if _HEX.fullmatch(name) else ""

    def may_be(self, file: File) -> bool:
        """Return whether these may be the bytes of `file`, whose size is the same."""
        if any(one.algorithm == file.digest.algorithm for one in self.digests):
            return file.digest in self.digests
        if self.named and len(self.named) == len(file.digest.hex):
            return self.named == file.digest.hex
        return self.path == file.path or self.path.endswith(f"/{file.path}")


class OpenLayer(Protocol):
    """Requests bytes of a layer from its registry."""

    def __call__(self, layer: Descriptor, start: int, stop: int, /) -> bytes:
        """Return the bytes `start` to `stop` (exclusive) of a layer as it is stored. Raise HubError."""


def raw_file(layer: Descriptor) -> LayerFile | None:
    """Return the file that a layer is, instead of a tar; None for a tar."""
    if not _RAW.fullmatch(layer.media_type):
        return None
    path = next((layer.annotations[name] for name in _PATHS if layer.annotations.get(name)), "")
    return LayerFile(layer, path, 0, layer.size, (layer.digest,))


def is_compressed(layer: Descriptor) -> bool:
    """Return whether a layer is compressed, by its media type; no part of such a layer can be requested."""
    return layer.media_type.endswith(("gzip", "zstd"))


def files_by_headers(layer: Descriptor, ask: OpenLayer) -> tuple[LayerFile, ...] | None:
    """List the files of an uncompressed layer, with requests for the tar's headers only; None if its files are small.

    Raise HubError, also if it is damaged.
    """
    file, found = _Headers(layer, ask), list[LayerFile]()
    with _damage(layer):
        entries = TarEntries(file, file.seek)
        for entry in _files(iter(entries)):
            found.append(LayerFile(layer, entry.name, entry.at, entry.size))
            if len(found) == _SAMPLE and entry.at < _SAMPLE * _SMALL_ON_AVERAGE:
                return None
        return tuple(found)


def files_by_download(layer: Descriptor, content: Content, aside: Path | None) -> tuple[LayerFile, ...]:
    """Download a layer once, into an unnamed temporary file in the folder `aside`, and list its files.

    Raise HubError if the layer is damaged or compressed with zstd, if its bytes do not match its digest, or if the disk
    has no room for its files.
    """
    if not readable(layer.media_type):
        raise HubError(f"layer {layer.digest} is compressed with zstd, which is not supported", hint=_UNPACKED)
    with _damage(layer), contextlib.ExitStack() as undoing:
        spool = undoing.enter_context(tempfile.TemporaryFile(dir=aside))
        room = max(free_bytes(aside or Path(tempfile.gettempdir())) - SPARE, 0)
        found: list[LayerFile] = []
        with reading_layer(content, layer.media_type) as entries:
            for entry in _files(iter(entries)):
                if spool.tell() + entry.size > SPOOLED + _MOST_RATIO * layer.size:
                    raise Damaged(f"its files are more than {_MOST_RATIO} times as large as the layer")
                if spool.tell() + entry.size > room:
                    # Its unpacked size is only known here: a full disk would stop other programs too.
                    raise Damaged(f"its files do not fit on the disk, which has {say_size(room)} for them")
                found.append(_kept(layer, entry, entries, spool))
        spool.flush()
        undoing.pop_all()  # its bytes are read as long as the hub is used
        return tuple(found)


def _files(entries: Iterator[TarEntry]) -> Iterator[TarEntry]:
    for count, entry in enumerate(entries):
        if count >= MOST_FILES:
            raise Damaged(f"it has more than {MOST_FILES} entries")
        if entry.kind == FILE:
            yield replace(entry, name=entry.name.removeprefix("./").lstrip("/"))


def _kept(layer: Descriptor, entry: TarEntry, entries: TarEntries, spool: IO[bytes]) -> LayerFile:
    at = spool.tell()
    hashers: dict[str, Hasher] = {name: hasher(name, entry.size) for name in (SHA256, GIT_SHA1)}
    while piece := entries.read(1 << 20):
        spool.write(piece)
        for one in hashers.values():
            one.update(piece)
    digests = tuple(Digest(name, one.hexdigest()) for name, one in hashers.items())
    return LayerFile(layer, entry.name, at, entry.size, digests, spool)


class _Headers:
    """The bytes of a layer from its registry, in small windows, as TarEntries reads them."""

    def __init__(self, layer: Descriptor, ask: OpenLayer) -> None:
        self._layer, self._ask = layer, ask
        self._at, self._window, self._window_at = 0, b"", 0

    def seek(self, at: int) -> None:
        """Set the position."""
        self._at = at

    def read(self, size: int, /) -> bytes:
        """See Readable."""
        stop = min(self._at + size, self._layer.size)
        if self._at >= stop:
            return b""
        if not self._window_at <= self._at <= stop <= self._window_at + len(self._window):
            whole = min(max(stop, self._at + _WINDOW), self._layer.size)
            self._window, self._window_at = self._ask(self._layer, self._at, whole), self._at
        found = self._window[self._at - self._window_at : stop - self._window_at]
        self._at += len(found)
        return found


@contextlib.contextmanager
def _damage(layer: Descriptor) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise HubError(error.message, hint=error.hint or _UNPACKED) from error
    except (Damaged, OSError) as error:
        raise HubError(f"layer {layer.digest} cannot be read: {error}", hint=_UNPACKED) from error
