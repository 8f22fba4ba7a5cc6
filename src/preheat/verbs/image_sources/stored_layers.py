"""Stored layers: the layers of an image, in a registry or in a file of this machine, read from any byte on."""

from pathlib import Path
from typing import Protocol

from preheat.core.errors import AccessDenied, HubError, NotFound, PreheatError
from preheat.core.snapshot import File
from preheat.disk.file_part import FilePart
from preheat.hubs.file_range import FileLocation, Ranges
from preheat.hubs.http_errors import read_temporary
from preheat.hubs.hub import Reader
from preheat.net.response import Stream
from preheat.oci.model.content import FileSpan
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.interfaces import ImageSource
from preheat.oci.registry.registry import Registry
from preheat.oci.registry.remote_image import Remote


class StoredLayers(Protocol):
    """An image's documents and layers, where they are stored. Thread-safe."""

    @property
    def source(self) -> ImageSource:
        """Return the image."""

    def open(self, layer: Descriptor, start: int, stop: int) -> Reader:
        """Return a reader of the bytes `start` to `stop` (exclusive) of a layer as it is stored.

        Raise HubError, or ImageError for an image on this machine.
        """


class RegistryLayers:
    """See StoredLayers. An image in a registry; parts of a layer are range requests."""

    def __init__(self, name: str, registry: Registry) -> None:
        self.source: ImageSource = Remote(registry)
        self._name = name
        self._registry = registry
        self._ranges = Ranges(registry, _read_error)

    def open(self, layer: Descriptor, start: int, stop: int) -> Reader:
        """See StoredLayers."""
        at = FileLocation(self._registry.url("blobs", str(layer.digest)), f"{self._name}: layer {layer.digest}")
        return self._ranges.open(at, File(layer.digest.hex, layer.size, layer.digest), start, stop)


class LocalLayers:
    """See StoredLayers. An image in a layout or an archive on this machine."""

    def __init__(self, source: ImageSource) -> None:
        self.source = source

    def open(self, layer: Descriptor, start: int, stop: int) -> Reader:
        """See StoredLayers."""
        for piece in self.source.content(layer, f"layer {layer.digest}").pieces(start):
            if isinstance(piece, FileSpan):
                return _Span(piece.path, piece.start, min(piece.start + stop - start, piece.stop))
        raise HubError(f"{self.source.name} has no layer {layer.digest} in a file", hint="copy the image again")


class _Span(FilePart):
    """A part of a file; an OSError is raised as HubError, and the next source is tried."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._path = path
        try:
            super().__init__(path, start, stop)
        except OSError as error:
            raise HubError(f"{path} cannot be read: {error.strerror}", hint="check its owner and mode") from error

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # as FilePart
        """See Reader."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise HubError(f"{self._path} cannot be read: {error.strerror}", hint="check its disk") from error


def _read_error(stream: Stream, what: str) -> PreheatError:
    match stream.status:
        case 404 | 410:
            return NotFound(f"{what} is not in the registry any more", hint="push the image again, or name another one")
        case 401 | 403:
            return AccessDenied(f"{what}: access is denied", hint="docker login, or podman login, at the registry")
    temporary = read_temporary(stream.status, stream.headers, what, "a login")
    return temporary or HubError(f"{what}: the registry answered {stream.status}", hint="see the registry's log")
