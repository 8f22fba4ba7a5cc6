"""Descriptor: digest, size and media type of a blob (OCI image specification 1.1, descriptor.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from preheat.core.digest import SHA256, Digest
from preheat.core.errors import SOURCE, ImageError, UsageError

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# Docker's image manifest, version 2, schema 2.
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset((INDEX, DOCKER_LIST))
MANIFESTS = frozenset((MANIFEST, DOCKER_MANIFEST))
# Docker and OCI use different media types for the same layers.
_TO_DOCKER = {
    LAYER: DOCKER_LAYER,
    f"{LAYER}+gzip": f"{DOCKER_LAYER}.gzip",
    f"{LAYER}+zstd": f"{DOCKER_LAYER}.zstd",
    CONFIG: DOCKER_CONFIG,
    MANIFEST: DOCKER_MANIFEST,
}
_TO_OCI = {docker: oci for oci, docker in _TO_DOCKER.items()}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Digest, size and media type of a blob. `platform` is empty if the document has none."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return the descriptor as a JSON object."""
        fields: dict[str, object] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        if self.platform:
            fields["platform"] = dict(self.platform)
        return fields


def read_descriptor(document: object, of: str) -> Descriptor:
    """Parse a descriptor in a document of `of`. Raise ImageError if it is invalid, or its digest is not SHA-256."""
    fields = document if isinstance(document, dict) else {}
    try:
        digest = Digest.parse(str(fields.get("digest", "")))
    except UsageError as error:
        raise ImageError(f"{of} contains an invalid digest: {fields.get('digest')!r}", end=SOURCE) from error
    size, media_type = fields.get("size"), fields.get("mediaType", "")
    if digest.algorithm != SHA256 or not isinstance(size, int) or size < 0 or not isinstance(media_type, str):
        raise ImageError(f"{of} contains an invalid descriptor of a blob", end=SOURCE)
    return Descriptor(media_type, digest, size, _words(fields.get("annotations")), _words(fields.get("platform")))


def as_docker(media_type: str) -> str:
    """Return Docker's media type for an OCI one."""
    return _TO_DOCKER.get(media_type, media_type)


def as_oci(media_type: str) -> str:
    """Return OCI's media type for a Docker one."""
    return _TO_OCI.get(media_type, media_type)


def _words(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(key): word for key, word in value.items() if isinstance(word, str)}
