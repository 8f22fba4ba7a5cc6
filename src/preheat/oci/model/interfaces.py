"""Interfaces: protocols for reading a base image and for writing an image."""

from typing import Protocol

from preheat.core.digest import Digest
from preheat.oci.model.content import Content
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import ImageDocument

# The result of writing a content to a target. "here": the target already had it.
HERE, SHARED, WRITTEN, SENT, MOUNTED = "here", "shared", "written", "sent", "mounted"


class ImageSource(Protocol):
    """An image to read. Methods raise ImageError with the source as its end."""

    name: str

    def document(self, digest: Digest | None) -> ImageDocument:
        """Read a manifest or index by its digest, or the image's top-level one for None."""

    def config(self, descriptor: Descriptor) -> ImageDocument:
        """Read an image's config."""

    def content(self, descriptor: Descriptor, name: str) -> Content:
        """Return a blob's content."""


class Target(Protocol):
    """A destination to write an image to. Blobs are written first; the image gets its name in `publish`."""

    name: str
    repository: str
    """`HOST/REPOSITORY` of a registry, to mount blobs from; empty for other targets."""
    parallel: int
    """The number of contents to write at the same time."""

    def has(self, digest: Digest, size: int) -> bool:
        """Return whether the target already has a blob, whose size is `size` bytes; change nothing."""

    def begin(self) -> None:
        """Prepare the target for writing; call it once, before the first `put`."""

    def put(self, content: Content) -> tuple[Digest, str]:
        """Write a content if the target does not have it yet. Return its digest, and how it got there."""

    def publish(self, manifest: ImageDocument, config: ImageDocument) -> None:
        """Write the manifest under the image's name. All contents must have been written."""

    def close(self) -> None:
        """Release all resources. Without `publish`, the image has no name."""
