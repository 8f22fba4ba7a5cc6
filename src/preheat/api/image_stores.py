"""Image stores: open layouts, archives and registries by the image names of the command line."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from preheat.api.session import Session
from preheat.core.errors import SOURCE, TARGET, HubError, HubUnavailable, NoTls, UsageError
from preheat.oci.layers.write_layer import OnBytes
from preheat.oci.local.archive_reader import DockerArchive, open_oci_archive
from preheat.oci.local.archive_writer import ArchiveTarget
from preheat.oci.local.engine import EngineImage, EngineTarget
from preheat.oci.local.layout import LayoutTarget, open_layout
from preheat.oci.model.image_name import DOCKER_ARCHIVE, LAYOUT, STORES, ImageName, Name, read_base
from preheat.oci.model.interfaces import ImageSource, Target
from preheat.oci.registry.credentials import find_login
from preheat.oci.registry.push import Mounts, RegistryTarget
from preheat.oci.registry.registry import Registry, RegistryOptions
from preheat.oci.registry.remote_image import Remote
from preheat.verbs.image_sources.image_hub import WeightsImage
from preheat.verbs.image_sources.stored_layers import LocalLayers, RegistryLayers, StoredLayers


def if_bundle(path: str) -> str:
    """Return a hint for a file that may be a bundle: pulls read none."""
    return f"if it is a bundle: preheat import {quote(path)}"


class ImageStores:
    """Opens image stores for a session; registries in `plain_http` (HOST or HOST:PORT) without TLS."""

    def __init__(self, session: Session, plain_http: Sequence[str]) -> None:
        self._session = session
        self._plain_http = frozenset(plain_http)
        self._weights: dict[str, WeightsImage] = {}

    def source(self, place: ImageName) -> ImageSource | None:
        """Open an image for reading; return None for `scratch`. Raise ImageError if there is no image."""
        if place.name is not None:
            return Remote(self._registry(place.name, SOURCE))
        if place.kind in STORES:
            return EngineImage(place, self.aside)
        if place.path is None:
            return None
        match place.kind:
            case "oci":
                return open_layout(place.path, place.tag)
            case "oci-archive":
                return open_oci_archive(place.path, place.tag)
            case _:
                return DockerArchive(place.path, place.tag)

    def weights(self, words: str) -> WeightsImage:
        """Return an image in a registry, a layout or an archive as a source of files; nothing is asked or read yet.

        Calls with the same words return the same object. Raise UsageError for anything else.
        """
        if words in self._weights:
            return self._weights[words]
        if ":" not in words and os.path.isfile(words):  # noqa: PTH113 - never raises, also for a name that is too long
            hint = f"{if_bundle(words)}; if it is an image: --from docker-archive:{quote(words)}"
            raise UsageError(f"{words} is a file, and --from needs the kind of its image", hint=hint)
        place = read_base(words)
        if place.kind in STORES:
            raise UsageError(
                f"{words!r} is in a store of podman or docker, of which no part can be read",
                hint="write it to a file first, with podman save or docker save, then --from docker-archive:FILE",
            )
        if place.name is None and place.path is None:
            raise UsageError(
                f"{words!r} has no files", hint="docker://REGISTRY/REPOSITORY@sha256:HEX, oci:DIR:TAG, oci-archive:FILE"
            )
        aside = self._session.library.root
        name = str(place) if place.name is None else str(place.name)
        connect = functools.partial(self._layers, place)
        image = WeightsImage(name, connect, aside if os.access(aside, os.W_OK) else None)
        self._weights[words] = image
        return image

    def _layers(self, place: ImageName) -> StoredLayers:
        """Open the layers of an image in a registry, a layout or an archive. Raise ImageError if there is no image."""
        if place.name is not None:
            return RegistryLayers(str(place.name), self._registry(place.name, SOURCE))
        source = self.source(place)
        assert source is not None, "an image with a path has a source"
        return LocalLayers(source)

    def target(self, place: ImageName, mounts: Mounts, on_bytes: OnBytes) -> Target:
        """Open a target for writing an image. Raise UsageError for a target that cannot be written."""
        if place.name is not None:
            return RegistryTarget(self._registry(place.name, TARGET), self._session.transport, mounts, on_bytes)
        if place.kind in STORES:
            return EngineTarget(place, self.aside, on_bytes)
        if place.path is None:
            raise UsageError(f"an image cannot be written to {place}", hint="--output oci:DIR:TAG")
        if place.kind == LAYOUT:
            return LayoutTarget(place.path, place.tag, on_bytes)
        return ArchiveTarget(place.path, place.tag, on_bytes, docker=place.kind == DOCKER_ARCHIVE)

    @property
    def aside(self) -> Path:
        """Return the folder for the archives that are exchanged with podman and docker, which use the same."""
        return Path(self._session.config.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - as podman does

    def _registry(self, name: Name, end: str) -> Registry:
        config = self._session.config
        login = find_login(name.host, name.repository, config.logins, config.environ)
        session = self._session
        options = RegistryOptions(self._plain(name), end, session.patience, session.on_event, self._plain_http)
        return Registry(session.transport, name, login, options)

    def _plain(self, name: Name) -> bool:
        """Return whether to use plain HTTP: if it was requested, or if a registry on loopback supports it."""
        if name.host in self._plain_http:
            return True
        if not name.loopback:
            return False
        try:
            return self._session.transport.get(f"http://{name.host}/v2/", {}).status != 400
        except HubError:
            return not self._speaks_tls(name)

    def _speaks_tls(self, name: Name) -> bool:
        """Return whether a registry responds over TLS, even if its certificate is not trusted."""
        try:
            self._session.transport.get(f"https://{name.host}/v2/", {})
        except HubError as error:
            return not isinstance(error, (HubUnavailable, NoTls))
        return True
