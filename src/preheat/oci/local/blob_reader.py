"""Blob reader: an image in a layout, as a folder or a tar, read by the names of its files."""

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
    """See Source. `find` says which bytes on this machine a file of the layout is."""

    def __init__(self, name: str, find: Find, tag: str) -> None:
        self.name = f"{name}:{tag}" if tag else name
        self._find = find
        self._tag = tag

    def config(self, descriptor: Descriptor) -> ImageDocument:
        """See Source."""
        return self.document(descriptor.digest)

    def document(self, digest: Digest | None) -> ImageDocument:
        """See Source."""
        if digest is None:
            return self.document(self._chosen().digest)
        body = self._body(f"blobs/sha256/{digest.hex}")
        if sha256(hashlib.sha256(body).hexdigest()) != digest:
            raise ImageError(
                f"{self.name} has a document that is not what its name says", hint="build or copy it anew", end=SOURCE
            )
        return ImageDocument(media_type_of(body, "", self.name), body)

    def content(self, descriptor: Descriptor, name: str) -> Content:
        """See Source."""
        span = self._find(f"blobs/sha256/{descriptor.digest.hex}")
        if span is None or span.stop - span.start != descriptor.size:
            raise ImageError(
                f"{self.name} lacks {descriptor.digest}, or has only a part of it", hint="copy it anew", end=SOURCE
            )
        return Local(name, span, descriptor.digest)

    def _chosen(self) -> Descriptor:
        listed = read_index(ImageDocument("", self._body("index.json")), self.name)
        tags = [one.annotations.get(REF_NAME, "") for one in listed]
        found = [one for one, tag in zip(listed, tags, strict=True) if self._tag in ("", tag)]
        if len(found) != 1:
            there = ", ".join(tag for tag in tags if tag) or "none that has a tag"
            raise ImageError(
                f"{self.name} has {len(found) or 'no'} such images", hint=f"name one: it has {there}", end=SOURCE
            )
        return found[0]

    def _body(self, name: str) -> bytes:
        span = self._find(name)
        if span is None or span.stop - span.start > _LARGEST_DOCUMENT:
            raise ImageError(f"{self.name} has no {name} that can be read", hint="copy it anew", end=SOURCE)
        return b"".join(bytes(chunk) for chunk in chunks(iter([span])))
