"""Push: upload missing blobs, mount blobs from other repositories, and write the manifest last."""

from collections.abc import Mapping, Sequence

from preheat.core.digest import Digest
from preheat.core.errors import ImageError
from preheat.net.http import Transport
from preheat.oci.layers.write_layer import OnBytes
from preheat.oci.model.content import Content, Small
from preheat.oci.model.image import ImageDocument
from preheat.oci.model.interfaces import HERE, MOUNTED, SENT
from preheat.oci.registry.registry import Registry
from preheat.oci.registry.response_parsing import header, resolved, with_query
from preheat.oci.registry.upload import Upload

Mounts = Mapping[Digest, Sequence[str]]


class RegistryTarget:
    """See Target. `mounts` maps digests to repositories, as `HOST/REPOSITORY`, that may already contain them."""

    parallel = 4

    def __init__(self, registry: Registry, transport: Transport, mounts: Mounts, on_bytes: OnBytes) -> None:
        self.name = f"docker://{registry.name}"
        self.repository = f"{registry.name.host}/{registry.name.repository}"
        self._registry = registry
        self._transport = transport
        self._mounts = mounts
        self._on_bytes = on_bytes

    def has(self, digest: Digest, size: int) -> bool:  # noqa: ARG002 - the digest is enough
        """See Target."""
        return self._registry.has(digest)

    def begin(self) -> None:
        """See Target."""

    def put(self, content: Content) -> tuple[Digest, str]:
        """See Target."""
        return self._put(content, self._on_bytes)

    def _put(self, content: Content, on_bytes: OnBytes) -> tuple[Digest, str]:
        location = ""
        if content.digest is not None:
            if self._registry.has(content.digest):
                return content.digest, HERE
            for repository in self._mounts.get(content.digest, ()):
                host, _, path = repository.partition("/")
                if host == self._registry.name.host and path != self._registry.name.repository:
                    mounted, location = self._mount(content.digest, path)
                    if mounted:
                        on_bytes(content.size)
                        return content.digest, MOUNTED
        return Upload(self._registry, self._transport, content, on_bytes).send(location), SENT

    def publish(self, manifest: ImageDocument, config: ImageDocument) -> None:
        """See Target."""
        self._put(Small("config", config.body, config.digest), lambda _size: None)
        registry = self._registry
        url = registry.url("manifests", registry.name.reference)
        headers = {"Content-Type": manifest.media_type}
        reply = registry.ask(
            lambda shown: self._transport.send("PUT", url, {**headers, **shown}, manifest.body), url, push=True
        )
        registry.expect(reply, {201}, f"{registry.name} rejected the manifest")
        stored_as = header(reply.headers, "Docker-Content-Digest")
        if stored_as and stored_as != str(manifest.digest):
            raise ImageError(
                f"{registry.name} stored the manifest as {stored_as}, expected {manifest.digest}", end=registry.end
            )

    def close(self) -> None:
        """See Target."""

    def _mount(self, digest: Digest, repository: str) -> tuple[bool, str]:
        """Mount a blob from another repository. Return whether that worked, and the URL of an upload session or ""."""
        url = self._registry.url("blobs", "uploads", "")
        asked = with_query(url, mount=str(digest), **{"from": repository})
        reply = self._registry.ask(
            lambda shown: self._transport.send("POST", asked, {"Content-Length": "0", **shown}),
            asked,
            push=True,
            also=repository,
        )
        if reply.status == 201:
            return True, ""
        location = header(reply.headers, "Location")
        return False, resolved(url, location) if reply.status == 202 and location else ""
