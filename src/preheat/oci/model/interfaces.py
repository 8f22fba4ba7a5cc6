"""Interfaces: the protocols of a place to read a base from, and of a place to write an image to."""

from typing import Protocol

from preheat.core.digest import Digest
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import ImageDocument

# What became of a content that was put into a store.
HERE, SHARED, WRITTEN, SENT, MOUNTED = "here", "shared", "written", "sent", "mounted"


class ImageSource(Protocol):
    """An image to read. Its methods raise ImageError, whose end is the source."""

    name: str

    def document(self, digest: Digest | None) -> ImageDocument:
        """Read the manifest or index that is named by a digest; the image's own first one without."""

    def config(self, descriptor: Descriptor) -> ImageDocument:
        """Read an image's config."""

    def content(self, descriptor: Descriptor, name: str) -> Content:
        """Say where the bytes of a blob can be had."""


class Target(Protocol):
    """A place to write an image to. Blobs come first; nothing has a name there before `publish`."""

    name: str
    repository: str
    """`HOST/REPOSITORY` of a registry, where blobs can be mounted from; empty elsewhere."""
    parallel: int
    """How many contents are worth putting at once."""

    def put(self, content: Content) -> tuple[Digest, str]:
        """Have the content there: return its digest, and what that took."""

    def publish(self, manifest: ImageDocument, config: ImageDocument) -> None:
        """Give the image its name, once all that its manifest names is there."""

    def close(self) -> None:
        """Let go; what was not published has no name."""
