"""Places: the stores that places of images mean."""

from collections.abc import Sequence

from preheat.cli.wiring import Wiring
from preheat.errors import UsageError
from preheat.oci.archive import DockerArchive, open_oci_archive
from preheat.oci.archiving import ArchiveTarget
from preheat.oci.layout import LayoutTarget, open_layout
from preheat.oci.place import DOCKER_ARCHIVE, LAYOUT, Place
from preheat.oci.pour import Told
from preheat.oci.store import Source, Target


class Places:
    """Opens what a command line names."""

    def __init__(self, wiring: Wiring, plain_http: Sequence[str]) -> None:
        self._wiring = wiring
        self._plain_http = frozenset(plain_http)

    def source(self, place: Place) -> Source | None:
        """Open a place to read an image from; None is `scratch`. Raise ImageError when there is no image."""
        if place.path is not None:
            match place.kind:
                case "oci":
                    return open_layout(place.path, place.tag)
                case "oci-archive":
                    return open_oci_archive(place.path, place.tag)
                case _:
                    return DockerArchive(place.path, place.tag)
        return None

    def target(self, place: Place, told: Told, *, docker: bool) -> Target:
        """Open a place to write an image to."""
        if place.path is not None:
            if place.kind == LAYOUT:
                return LayoutTarget(place.path, place.tag, told)
            return ArchiveTarget(place.path, place.tag, told, docker=place.kind == DOCKER_ARCHIVE)
        raise UsageError(f"an image cannot be written to {place}", hint="oci:DIR:TAG")
