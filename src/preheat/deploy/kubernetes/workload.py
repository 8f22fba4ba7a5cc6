"""Workload: an app with its weights as Kubernetes runs it: image, volumes, user, probes and requests; pure."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from preheat.core.errors import UsageError
from preheat.deploy.kubernetes.object_names import content_key, object_name
from preheat.deploy.service import Service

IMAGE, PVC, NODE, VOLUME = WAYS = ("image", "pvc", "node", "volume")
# Where the weights lie in an image of their own; the app sees them at the same paths.
APART = (PVC, VOLUME)
STARTUP_PERIOD_S = 5
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_USER = re.compile(r"(\d{1,10})(?::(\d{1,10}))?")
_MIB, _GIB = 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class Workload:
    """An app for Kubernetes.

    `weights` is one of `WAYS`. `image` is the app's image, `weights_image` the one that has the weights in it, the same
    for `image` and `node`. `folders` are the folders of the weights, in the image and in the app's container; `size` is
    that of the weights in bytes, 0 if unknown. `port` is the app's, None if unknown; `status_port` the guard's.
    `peak_memory` is the app's measured peak in bytes, 0 if unknown.
    """

    service: Service
    weights: str
    image: str
    weights_image: str
    namespace: str
    status_port: int
    port: int | None = None
    folders: tuple[str, ...] = ()
    size: int = 0
    peak_memory: float = 0.0

    def __post_init__(self) -> None:
        """Raise UsageError for values that Kubernetes does not accept."""
        for name in self.service.env:
            if not _ENV_NAME.fullmatch(name):
                raise UsageError(
                    f"{name!r} cannot be the name of a variable in Kubernetes", hint="letters, digits, '_', '-' and '.'"
                )
        if not self.uid:
            raise UsageError("the pod's user must not be root", hint="--user 65534:65534")

    @property
    def name(self) -> str:
        """Return the name of the app's objects."""
        return object_name(self.service.name)

    @property
    def key(self) -> str:
        """Return the name of this version of the weights; it changes with the image."""
        return content_key(self.weights_image)

    @property
    def place(self) -> str:
        """Return the namespace, or a hash of a long one: it makes names unique that the whole cluster shares."""
        return content_key(self.namespace)[:6] if len(self.namespace) > 20 else self.namespace

    @property
    def node_label(self) -> str:
        """Return the label of nodes that have the weights."""
        return f"preheat/{self.name}-{self.place}"

    @property
    def uid(self) -> int:
        """Return the pod's user ID."""
        return self._ids[0]

    @property
    def gid(self) -> int:
        """Return the pod's group ID."""
        return self._ids[1]

    @property
    def _ids(self) -> tuple[int, int]:
        found = _USER.fullmatch(self.service.user)
        if found is None:
            raise UsageError(f"{self.service.user!r} is not UID:GID", hint="--user 65534:65534")
        return int(found[1]), int(found[2] or found[1])

    @property
    def request_mib(self) -> int:
        """Return the memory to request in MiB: the measured peak and a quarter more; 0 if none was measured."""
        return math.ceil(self.peak_memory * 1.25 / _MIB)

    @property
    def claim_gib(self) -> int:
        """Return the size of a claim in GiB that holds two versions of the weights."""
        return max(1, math.ceil(self.size * 2.1 / _GIB))

    @property
    def startup_failures(self) -> int:
        """Return how many failed startup probes fit into the time that a start may take."""
        seconds, _ = self.service.health_start
        return math.ceil(seconds / STARTUP_PERIOD_S)


def outermost(folders: Iterable[str]) -> tuple[str, ...]:
    """Return the folders that lie in no other one of them, sorted; absolute paths."""
    kept: list[PurePosixPath] = []
    for path in sorted(map(PurePosixPath, folders)):
        if not any(path.is_relative_to(other) for other in kept):
            kept.append(path)
    return tuple(map(str, kept))
