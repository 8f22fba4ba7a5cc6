"""Image: a config and layers, immutable (OCI image specification 1.1)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from preheat.core.digest import Digest, sha256
from preheat.core.errors import SOURCE, ImageError
from preheat.oci.model.descriptor import (
    CONFIG,
    INDEX,
    INDEXES,
    MANIFEST,
    MANIFESTS,
    Descriptor,
    as_docker,
    as_oci,
    read_descriptor,
)
from preheat.oci.model.platform import Platform

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class ImageDocument:
    """A small JSON document of an image, with its exact bytes."""

    media_type: str
    body: bytes

    @property
    def digest(self) -> Digest:
        """Return the digest of the bytes."""
        return sha256(hashlib.sha256(self.body).hexdigest())

    @property
    def descriptor(self) -> Descriptor:
        """Return the descriptor."""
        return Descriptor(self.media_type, self.digest, len(self.body))


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was read: the fields of its config, and its layers.

    `digest` is the digest of its manifest, or "" for `scratch`.
    """

    config: Fields = field(default_factory=dict)
    layers: tuple[Descriptor, ...] = ()
    digest: str = ""

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Return the digests of the uncompressed layers."""
        rootfs = self.config.get("rootfs")
        listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        return tuple(str(one) for one in listed) if isinstance(listed, list) else ()

    @property
    def platform(self) -> Platform:
        """Return the platform of the config."""
        return Platform(*(str(self.config.get(name, "")) for name in ("os", "architecture", "variant")))


@dataclass(frozen=True, slots=True)
class Manifest:
    """The descriptors in a manifest."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def read_manifest(document: ImageDocument, of: str) -> Manifest:
    """Parse an image's manifest, OCI or Docker. Raise ImageError if the document is anything else."""
    fields = read_json(document.body, of)
    if document.media_type not in MANIFESTS:
        raise ImageError(
            f"{of} is a {document.media_type or 'document without a media type'}, not an image", end=SOURCE
        )
    layers = fields.get("layers")
    if not isinstance(layers, list):
        raise ImageError(f"the manifest of {of} has no layers", end=SOURCE)
    described = tuple(read_descriptor(layer, of) for layer in layers)
    return Manifest(read_descriptor(fields.get("config"), of), described)


def read_index(document: ImageDocument, of: str) -> list[Descriptor]:
    """Parse an index, or Docker's manifest list."""
    listed = read_json(document.body, of).get("manifests")
    if not isinstance(listed, list):
        raise ImageError(f"the index of {of} lists no manifests", end=SOURCE)
    return [read_descriptor(one, of) for one in listed]


def choose(index: list[Descriptor], platform: Platform, of: str) -> Descriptor:
    """Return the manifest for `platform`. If there is none, raise ImageError that lists the platforms of the index."""
    kinds = [one for one in index if one.media_type in MANIFESTS | INDEXES or not one.media_type]
    found = next((one for one in kinds if platform.fits(one.platform)), None)
    if found is None and len(kinds) == 1 and not kinds[0].platform:
        found = kinds[0]
    if found is None:
        there = sorted({str(Platform.of(one.platform)) for one in kinds if one.platform} - {"unknown/unknown"})
        raise ImageError(
            f"{of} has no image for {platform}",
            hint=f"--platform {there[0]}; it has {', '.join(there)}" if there else "another base",
            end=SOURCE,
        )
    return found


def read_json(body: bytes, of: str) -> Fields:
    """Parse a JSON object. Raise ImageError if it is anything else."""
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ImageError(f"a document of {of} is invalid: {error}", end=SOURCE) from error


def media_type_of(body: bytes, content_type: str, of: str) -> str:
    """Return a document's media type: its `mediaType`, else `content_type`, else a guess from its fields."""
    fields = read_json(body, of)
    own = fields.get("mediaType")
    if isinstance(own, str) and own:
        return own
    if content_type.partition(";")[0].strip() in INDEXES | MANIFESTS:
        return content_type.partition(";")[0].strip()
    if "layers" in fields:
        return MANIFEST
    return INDEX if "manifests" in fields else ""


def write_manifest(
    config: ImageDocument,
    layers: tuple[Descriptor, ...],
    annotations: Mapping[str, str],
    *,
    docker: bool,
    artifact: str = "",
) -> ImageDocument:
    """Return the manifest of an image, or of an artifact if `artifact` is set. Docker's format has no annotations."""
    name = as_docker if docker else as_oci
    fields: Fields = {"schemaVersion": 2, "mediaType": name(MANIFEST)}
    if artifact:
        fields["artifactType"] = artifact
    fields["config"] = Descriptor(name(config.media_type), config.digest, len(config.body)).document()
    fields["layers"] = [
        Descriptor(name(one.media_type), one.digest, one.size, {} if docker else one.annotations).document()
        for one in layers
    ]
    if annotations and not docker:
        fields["annotations"] = dict(sorted(annotations.items()))
    return ImageDocument(name(MANIFEST), write_json(fields))


def write_json(fields: Mapping[str, object]) -> bytes:
    """Encode a JSON object; the same fields give the same bytes."""
    return msgspec.json.encode(fields)


def config_document(fields: Fields) -> ImageDocument:
    """Return an image's config as a document."""
    return ImageDocument(CONFIG, write_json(fields))
