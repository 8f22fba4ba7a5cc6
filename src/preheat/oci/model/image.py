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
    LAYER,
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
    """A small JSON document of a store, by its bytes."""

    media_type: str
    body: bytes

    @property
    def digest(self) -> Digest:
        """Hash it."""
        return sha256(hashlib.sha256(self.body).hexdigest())

    @property
    def descriptor(self) -> Descriptor:
        """Describe it."""
        return Descriptor(self.media_type, self.digest, len(self.body))


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was read: its config's fields as they are, and what its layers are.

    `digest` is its manifest's; empty for `scratch`.
    """

    config: Fields = field(default_factory=dict)
    layers: tuple[Descriptor, ...] = ()
    digest: str = ""

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Say what the layers hash to when they are not compressed."""
        rootfs = self.config.get("rootfs")
        listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        return tuple(str(one) for one in listed) if isinstance(listed, list) else ()

    @property
    def platform(self) -> Platform:
        """Say what it runs on."""
        return Platform(*(str(self.config.get(name, "")) for name in ("os", "architecture", "variant")))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says: config and layers by descriptor."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def read_manifest(document: ImageDocument, of: str) -> Manifest:
    """Read an image's manifest, in OCI's form or docker's; raise ImageError when it is something else."""
    fields = read_json(document.body, of)
    if document.media_type not in MANIFESTS:
        raise ImageError(f"{of} is a {document.media_type or 'document of no kind'}, and no image", end=SOURCE)
    layers = fields.get("layers")
    if not isinstance(layers, list):
        raise ImageError(f"the manifest of {of} has no layers", end=SOURCE)
    described = tuple(read_descriptor(layer, of) for layer in layers)
    return Manifest(read_descriptor(fields.get("config"), of), described)


def read_index(document: ImageDocument, of: str) -> list[Descriptor]:
    """Read an index, or docker's list of manifests."""
    listed = read_json(document.body, of).get("manifests")
    if not isinstance(listed, list):
        raise ImageError(f"the index of {of} lists no manifests", end=SOURCE)
    return [read_descriptor(one, of) for one in listed]


def choose(index: list[Descriptor], platform: Platform, of: str) -> Descriptor:
    """Choose the manifest for `platform`. Raise ImageError that says which there are when there is none."""
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
    """Read a document's fields; raise ImageError when it is not an object."""
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ImageError(f"a document of {of} makes no sense: {error}", end=SOURCE) from error


def media_type_of(body: bytes, said: str, of: str) -> str:
    """Say what a document is: what it says itself, else what the store said, else what it looks like."""
    fields = read_json(body, of)
    own = fields.get("mediaType")
    if isinstance(own, str) and own:
        return own
    if said.partition(";")[0].strip() in INDEXES | MANIFESTS:
        return said.partition(";")[0].strip()
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
    """Write the manifest of an image, or of the artifact of kind `artifact`. docker's form has no annotations."""
    name = as_docker if docker else as_oci
    said: Fields = {"schemaVersion": 2, "mediaType": name(MANIFEST)}
    if artifact:
        said["artifactType"] = artifact
    said["config"] = Descriptor(name(config.media_type), config.digest, len(config.body)).document()
    said["layers"] = [
        Descriptor(name(one.media_type), one.digest, one.size, {} if docker else one.annotations).document()
        for one in layers
    ]
    if annotations and not docker:
        said["annotations"] = dict(sorted(annotations.items()))
    return ImageDocument(name(MANIFEST), write_json(said))


def write_json(fields: Mapping[str, object]) -> bytes:
    """Write a document, the same bytes for the same fields."""
    return msgspec.json.encode(fields)


def layer_descriptor(digest: Digest, size: int, media_type: str = LAYER) -> Descriptor:
    """Describe a layer of ours."""
    return Descriptor(media_type, digest, size)


def config_document(fields: Fields, media_type: str = CONFIG) -> ImageDocument:
    """Write an image's config."""
    return ImageDocument(media_type, write_json(fields))
