"""Blob reader: read an image from a layout in a folder or a tar."""

import hashlib
from collections.abc import Callable

from preheat.core.digest import Digest, sha256
from preheat.core.errors import SOURCE, ImageError
from preheat.oci.model.content import Content, FileSpan, Local, chunks
from preheat.oci.model.descriptor import Descriptor
from preheat.oci.model.image import ImageDocument, media_type_of, read_index

REF_NAME = "org.opencontainers.image.ref.name"
Find = Callable[[str], FileSpan | None]
_LARGEST_DOCUMENT = 64 << 20


class BlobReader:
    """See ImageSource. `find` maps the path of a file in the layout to its bytes on disk, or None."""

    def __init__(self, name: str, find: Find, tag: str) -> None:
        self.name = f"{name}:{tag}" if tag else name
        self._find = find
        self._tag = tag

    def config(self, descriptor: Descriptor) -> ImageDocument:
        """See ImageSource."""
        return self.document(descriptor.digest)

    def document(self, digest: Digest | None) -> ImageDocument:
        """See ImageSource."""
        if digest is None:
            return self.document(self._chosen().digest)
        body = self._body(f"blobs/sha256/{digest.hex}")
        if sha256(hashlib.sha256(body).hexdigest()) != digest:
            raise ImageError(
                f"{self.name} has a document that does not match its digest",
                hint="build or copy the image again",
                end=SOURCE,
            )
        return ImageDocument(media_type_of(body, "", self.name), body)

    def content(self, descriptor: Descriptor, name: str) -> Content:
        """See ImageSource."""
        span = self._find(f"blobs/sha256/{descriptor.digest.hex}")
        if span is None or span.stop - span.start != descriptor.size:
            raise ImageError(
                f"{self.name} does not contain {descriptor.digest}, or only part of it",
                hint="copy the image again",
                end=SOURCE,
            )
        return Local(name, span, descriptor.digest)

    def _chosen(self) -> Descriptor:
        listed = read_index(ImageDocument("", self._body("index.json")), self.name)
        tags = [one.annotations.get(REF_NAME, "") for one in listed]
        found = [one for one, tag in zip(listed, tags, strict=True) if self._tag in ("", tag)]
        if len(found) != 1:
            there = ", ".join(tag for tag in tags if tag) or "no tags"
            raise ImageError(
                f"{self.name} has {len(found) or 'no'} matching images",
                hint=f"choose one by its tag; the layout has: {there}",
                end=SOURCE,
            )
        return found[0]

    def _body(self, name: str) -> bytes:
        span = self._find(name)
        if span is None or span.stop - span.start > _LARGEST_DOCUMENT:
            raise ImageError(f"{self.name} has no readable {name}", hint="copy the image again", end=SOURCE)
        return b"".join(bytes(chunk) for chunk in chunks(iter([span])))
