"""Store secrets: the variables of object stores, which obstore reads, whose values must not appear in any output."""

from collections.abc import Mapping

_SECRET = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_CLIENT_SECRET",
)


def store_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets in the environment."""
    return tuple(environ[name] for name in _SECRET if environ.get(name))
