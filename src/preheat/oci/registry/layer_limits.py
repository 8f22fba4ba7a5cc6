"""Layer limits: the maximum layer size of well-known registries, from their documentation; pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerLimit:
    """A registry, by its host or the end of its host's name, and its maximum layer size in bytes."""

    name: str
    host: str
    layer_size: int


# docs.github.com, "Working with the Container registry"; docs.aws.amazon.com, "Amazon ECR service quotas" and
# "Amazon ECR Public service quotas"; learn.microsoft.com, "Azure Container Registry service tiers".
_LIMITS = (
    LayerLimit("GitHub's registry", "ghcr.io", 10 << 30),
    LayerLimit("Amazon ECR Public", "public.ecr.aws", 10_000_000_000),
    LayerLimit("Amazon ECR", ".amazonaws.com", 52_000 << 20),
    LayerLimit("Azure's registry", ".azurecr.io", 200 << 30),
)


def limit_of(host: str) -> LayerLimit | None:
    """Return the limit of a registry, or None if it is not known."""
    return next((limit for limit in _LIMITS if host == limit.host or host.endswith(limit.host)), None)
