"""Store login: find whether there are credentials, and read those that aws keeps in files.

obstore reads the variables of each service, files of Google's and Azure's tools, and the identities of machines and
containers, but not the files of aws: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html.
"""

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.disk.regular_file import read_regular, why

_LARGEST = 1 << 20
_KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_IN_VARIABLES = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_CLIENT_SECRET",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_USE_AZURE_CLI",
        "AZURE_MSI_ENDPOINT",
        "IDENTITY_ENDPOINT",
    ),
}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_GCLOUD = ".config/gcloud/application_default_credentials.json"


@dataclass(frozen=True, slots=True)
class StoreLogin:
    """obstore's settings from files, whether there are any credentials, and the `endpoint`, empty for the service's."""

    service: dict[str, str] = field(repr=False)
    found: bool
    endpoint: str = ""


def find_login(scheme: str, environ: Mapping[str, str], home: Path | None) -> StoreLogin:
    """Return how to log in to a service. Raise UsageError for a profile that is missing, or has no keys."""
    known = any(environ.get(name) for name in _IN_VARIABLES[scheme])
    if scheme == "gs":
        return StoreLogin({}, known or (home is not None and (home / _GCLOUD).is_file()))
    if scheme == "az":
        return StoreLogin({}, known)
    service: dict[str, str] = {}
    profile = environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"
    settings = _section(_file(environ, "AWS_CONFIG_FILE", home, "config"), f"profile {profile}", profile)
    if not known:
        keys = _section(_file(environ, "AWS_SHARED_CREDENTIALS_FILE", home, "credentials"), profile)
        both = {**settings, **keys}
        service = {name.removeprefix("aws_"): both[name] for name in _KEYS if both.get(name)}
        if profile != "default" and "secret_access_key" not in service:
            kind = "has no keys of its own" if both else "is in neither of the files of aws"
            raise UsageError(
                f"the profile {profile} {kind}",
                hint='check AWS_PROFILE; for roles and SSO: eval "$(aws configure export-credentials --format env)"',
            )
        known = "secret_access_key" in service
    if settings.get("region") and not (environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")):
        service["region"] = settings["region"]
    endpoint = next((environ[name] for name in _ENDPOINTS if environ.get(name)), "")
    if not endpoint and settings.get("endpoint_url"):
        endpoint = settings["endpoint_url"]
    if endpoint:
        service["endpoint"] = endpoint.rstrip("/")
    return StoreLogin(service, known, endpoint)


def _file(environ: Mapping[str, str], variable: str, home: Path | None, name: str) -> Path | None:
    if environ.get(variable):
        return Path(environ[variable]).expanduser()
    return None if home is None else home / ".aws" / name


def _section(path: Path | None, *names: str) -> dict[str, str]:
    """Return the first of the named sections of a file; empty if there is none. Raise UsageError for a broken file."""
    if path is None:
        return {}
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(read_regular(path, _LARGEST).decode())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {why(error)}", hint="check its owner and mode") from error
    except (configparser.Error, UnicodeDecodeError):
        # The exception of the parser contains lines of the file.
        raise UsageError(f"{path} is not a file as aws configure writes it", hint="aws configure") from None
    section = next((name for name in names if parser.has_section(name)), "")
    return dict(parser.items(section)) if section else {}
