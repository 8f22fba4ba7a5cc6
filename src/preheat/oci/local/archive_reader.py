"""Archive reader: read an image from a tar: `oci-archive`, or `docker-archive` as written by `docker save`.

manifest.json       in a docker-archive: [{"Config": FILE, "RepoTags": […], "Layers": [FILE, …]}]; each layer's file
                    is a tar, plain or compressed (moby/docs: image/spec/v1.2.md)
"""

import hashlib
import posixpath
from pathlib import Path

import msgspec

from preheat.core.digest import Digest, sha256
from preheat.core.errors import SOURCE, ImageError
from preheat.disk.regular_file import open_regular
from preheat.oci.layers.overlay import normal
from preheat.oci.layers.tar_reader import FILE, HARD_LINK, LINK, Damaged, TarEntries
from preheat.oci.local.blob_reader import BlobReader, Find
from preheat.oci.model.content import Content, FileSpan, Local, chunks
from preheat.oci.model.descriptor import CONFIG, LAYER, MANIFEST, Descriptor
from preheat.oci.model.image import ImageDocument, read_json, write_json

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def open_oci_archive(file: Path, tag: str) -> BlobReader:
    """Open an OCI layout in a tar. Raise ImageError if the file is not a readable tar."""
    return BlobReader(f"oci-archive:{file}", _members(file), tag)


class DockerArchive:
    """See ImageSource. An image in a docker-archive, with a manifest created for it."""

    def __init__(self, file: Path, tag: str) -> None:
        self.name = f"docker-archive:{file}" + (f":{tag}" if tag else "")
        self._find = _members(file)
        listed = _listed(self._body("manifest.json"), self.name)
        chosen = [one for one in listed if not tag or tag in one.names]
        if len(chosen) != 1:
            there = ", ".join(name for one in listed for name in one.names) or "no named images"
            raise ImageError(
                f"{self.name} has {len(chosen) or 'no'} matching images",
                hint=f"choose one by its name; the archive has: {there}",
                end=SOURCE,
            )
        self._config = self._body(chosen[0].Config)
        rootfs = read_json(self._config, self.name).get("rootfs")
        diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(diff_ids, list) or len(diff_ids) != len(chosen[0].Layers):
            raise ImageError(
                f"{self.name} has a different number of layers than its config lists",
                hint="save the image again",
                end=SOURCE,
            )
        self._spans: dict[Digest, FileSpan] = {}
        self._layers = [
            self._layer(path, str(diff_id)) for path, diff_id in zip(chosen[0].Layers, diff_ids, strict=True)
        ]

    def config(self, descriptor: Descriptor) -> ImageDocument:  # noqa: ARG002 - there is one
        """See ImageSource."""
        return ImageDocument(CONFIG, self._config)

    def document(self, digest: Digest | None) -> ImageDocument:  # noqa: ARG002 - there is one
        """See ImageSource."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": ImageDocument(CONFIG, self._config).descriptor.document(),
            "layers": [layer.document() for layer in self._layers],
        }
        return ImageDocument(MANIFEST, write_json(manifest))

    def content(self, descriptor: Descriptor, name: str) -> Content:
        """See ImageSource."""
        return Local(name, self._spans[descriptor.digest], descriptor.digest)

    def _layer(self, path: str, diff_id: str) -> Descriptor:
        span = self._span(path)
        magic = FileSpan(span.path, span.start, min(span.start + 4, span.stop))
        front = b"".join(bytes(chunk) for chunk in chunks(iter([magic])))
        if not front.startswith((_GZIP, _ZSTD)):
            digest, media_type = Digest.parse(diff_id), LAYER
        else:
            # The diff ID is the digest of the uncompressed tar, so the compressed file must be hashed.
            hashing = hashlib.sha256()
            for chunk in chunks(iter([span])):
                hashing.update(chunk)
            digest = sha256(hashing.hexdigest())
            media_type = f"{LAYER}+{'gzip' if front.startswith(_GZIP) else 'zstd'}"
        self._spans[digest] = span
        return Descriptor(media_type, digest, span.stop - span.start)

    def _span(self, path: str) -> FileSpan:
        span = self._find(path)
        if span is None:
            raise ImageError(f"{self.name} does not contain {path}", hint="save the image again", end=SOURCE)
        return span

    def _body(self, path: str) -> bytes:
        return b"".join(bytes(chunk) for chunk in chunks(iter([self._span(path)])))


class _ManifestLine(msgspec.Struct):
    Config: str
    Layers: list[str]
    RepoTags: list[str] | None = None

    @property
    def names(self) -> list[str]:
        """Return the image's names. RepoTags is null for an image without names."""
        return self.RepoTags or []


def _listed(body: bytes, of: str) -> list[_ManifestLine]:
    try:
        return msgspec.json.decode(body, type=list[_ManifestLine])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"{of} has an invalid manifest.json: {error}", end=SOURCE) from error


def _members(file: Path) -> Find:
    """Return a function that maps a file's path in the archive to its bytes; links are resolved."""
    spans: dict[str, FileSpan] = {}
    links: dict[str, str] = {}
    try:
        with open_regular(file) as opened:
            for entry in TarEntries(opened, opened.seek):
                name = normal(entry.name)
                if entry.kind == FILE:
                    spans[name] = FileSpan(file, entry.at, entry.at + entry.size)
                elif entry.kind == LINK:
                    links[name] = normal(posixpath.join(posixpath.dirname(name), entry.target))
                elif entry.kind == HARD_LINK:
                    links[name] = normal(entry.target)
    except (OSError, Damaged) as error:
        raise ImageError(
            f"{file} is not a readable archive: {error}", hint="an archive must be an uncompressed tar", end=SOURCE
        ) from error
    return lambda name: spans.get(name) or spans.get(links.get(name, ""))
