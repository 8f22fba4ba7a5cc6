"""Remote image: read an image in a registry on demand."""

from collections.abc import Iterator

from preheat.core.digest import Digest
from preheat.core.errors import HubUnavailable, ImageError
from preheat.oci.model.content import CHUNK, Content, Piece, chunks
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import ImageDocument
from preheat.oci.registry.registry import Registry

_BREAKS = 8
_LARGEST_CONFIG = 64 << 20


class Remote:
    """See ImageSource."""

    def __init__(self, registry: Registry) -> None:
        self.name = str(registry.name)
        self._registry = registry

    def document(self, digest: Digest | None) -> ImageDocument:
        """See ImageSource."""
        return self._registry.document(str(digest) if digest else self._registry.name.reference)

    def config(self, descriptor: Descriptor) -> ImageDocument:
        """See ImageSource."""
        if descriptor.size > _LARGEST_CONFIG:
            raise ImageError(f"the config of {self.name} has {descriptor.size} bytes", end=self._registry.end)
        body = b"".join(bytes(chunk) for chunk in chunks(self.content(descriptor, "config").pieces()))
        document = ImageDocument(descriptor.media_type, body)
        if document.digest != descriptor.digest:
            raise ImageError(f"the config of {self.name} does not match its digest", end=self._registry.end)
        return document

    def content(self, descriptor: Descriptor, name: str) -> Content:
        """See ImageSource."""
        return RemoteBlob(name, self._registry, descriptor)


class RemoteBlob:
    """See Content."""

    trusted = False
    local = False

    def __init__(self, name: str, registry: Registry, descriptor: Descriptor) -> None:
        self.name = name
        self.size = descriptor.size
        self.digest: Digest | None = descriptor.digest
        self._registry = registry
        self._descriptor = descriptor

    def pieces(self, start: int = 0) -> Iterator[Piece]:
        """See Content. Interrupted downloads are resumed."""
        breaks = 0
        while start < self.size:
            before = start
            try:
                for piece in self._once(start):
                    start += len(piece)
                    yield piece
                if start < self.size:
                    raise HubUnavailable(f"{self._registry.name.host} closed the connection early")
            except HubUnavailable as error:
                breaks = breaks + 1 if start - before < CHUNK else 0
                if breaks >= _BREAKS:
                    raise ImageError(
                        f"cannot download {self.name} from {self._registry.name}: {error.message}",
                        hint="try again later",
                        end=self._registry.end,
                    ) from error

    def _once(self, start: int) -> Iterator[bytes]:
        stream = self._registry.persist(lambda: self._registry.blob(self._descriptor.digest, start))
        buffer = memoryview(bytearray(CHUNK))
        try:
            while start < self.size and (count := stream.readinto(buffer[: self.size - start])):
                start += count
                yield bytes(buffer[:count])
        finally:
            stream.close()
