"""Served model: a model that a serving runtime of KServe serves, without the app's command; pure."""

import math
from dataclasses import dataclass

from preheat.deploy.kubernetes.object_names import content_key, object_name


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model for KServe: `weights` is `volume` for a modelcar, `node` for a cache on nodes of the group `node_group`.

    `app` is the recipe's name, `storage_uri` where KServe finds the model, `model_format` decides which runtime serves
    it, and `size` is in bytes.
    """

    app: str
    weights: str
    storage_uri: str
    model_format: str
    namespace: str
    node_group: str = ""
    size: int = 0
    has_gpu: bool = False

    @property
    def name(self) -> str:
        """Return the name of the InferenceService."""
        return object_name(self.app)

    @property
    def key(self) -> str:
        """Return what names one version of the model."""
        return content_key(self.storage_uri)

    @property
    def size_gib(self) -> int:
        """Return the model's size in GiB, rounded up."""
        return max(1, math.ceil(self.size / (1 << 30)))
