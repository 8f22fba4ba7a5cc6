"""Image stores: layouts, archives and registries, opened by the names that people type."""

from collections.abc import Sequence

from preheat.api.session import Session
from preheat.core.errors import SOURCE, TARGET, HubError, HubUnavailable, UsageError
from preheat.oci.layers.write_layer import Told
from preheat.oci.local.archive_reader import DockerArchive, open_oci_archive
from preheat.oci.local.archive_writer import ArchiveTarget
from preheat.oci.local.layout import LayoutTarget, open_layout
from preheat.oci.model.image_name import DOCKER_ARCHIVE, LAYOUT, ImageName, Name
from preheat.oci.model.interfaces import ImageSource, Target
from preheat.oci.registry.credentials import find_login
from preheat.oci.registry.push import Mounts, RegistryTarget
from preheat.oci.registry.registry import Manner, Registry
from preheat.oci.registry.remote_image import Remote


class ImageStores:
    """Opens stores for a session; those of `plain_http`, as HOST or HOST:PORT, without TLS."""

    def __init__(self, session: Session, plain_http: Sequence[str]) -> None:
        self._session = session
        self._plain_http = frozenset(plain_http)

    def source(self, place: ImageName) -> ImageSource | None:
        """Open a place to read an image from; None is `scratch`. Raise ImageError when there is no image."""
        if place.name is not None:
            return Remote(self._registry(place.name, SOURCE))
        if place.path is None:
            return None
        match place.kind:
            case "oci":
                return open_layout(place.path, place.tag)
            case "oci-archive":
                return open_oci_archive(place.path, place.tag)
            case _:
                return DockerArchive(place.path, place.tag)

    def target(self, place: ImageName, mounts: Mounts, told: Told) -> Target:
        """Open a place to write an image to. Raise UsageError for one that nothing can be written to."""
        if place.name is not None:
            return RegistryTarget(self._registry(place.name, TARGET), self._session.transport, mounts, told)
        if place.path is None:
            raise UsageError(f"an image cannot be written to {place}", hint="--output oci:DIR:TAG")
        if place.kind == LAYOUT:
            return LayoutTarget(place.path, place.tag, told)
        return ArchiveTarget(place.path, place.tag, told, docker=place.kind == DOCKER_ARCHIVE)

    def _registry(self, name: Name, end: str) -> Registry:
        config = self._session.config
        login = find_login(name.host, name.repository, config.logins, config.environ)
        manner = Manner(self._plain(name), end, self._session.patience, self._session.on_event)
        return Registry(self._session.transport, name, login, manner)

    def _plain(self, name: Name) -> bool:
        """Whether to talk without TLS: where that was asked for, or on this machine if it is understood there."""
        if name.host in self._plain_http:
            return True
        if not name.loopback:
            return False
        try:
            return self._session.transport.get(f"http://{name.host}/v2/", {}).status != 400
        except HubError:
            return not self._speaks_tls(name)

    def _speaks_tls(self, name: Name) -> bool:
        """Whether a registry answers over TLS, if only with a certificate that is not trusted."""
        try:
            self._session.transport.get(f"https://{name.host}/v2/", {})
        except HubError as error:
            return not isinstance(error, HubUnavailable)
        return True
