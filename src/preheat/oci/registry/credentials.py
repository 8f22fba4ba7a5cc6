"""Credentials: logins stored by docker, podman and their credential helpers.

    {"auths": {"ghcr.io": {"auth": base64 of USER:PASSWORD, "identitytoken": …}},
     "credHelpers": {"ghcr.io": NAME}, "credsStore": NAME}

docker's config.json (docs.docker.com/reference/cli/docker/login) and containers-auth.json(5). A helper is the program
`docker-credential-NAME`: `get` reads the host from stdin and writes JSON to stdout.
"""

import base64
import binascii
import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.errors import ImageError
from preheat.disk.regular_file import read_regular
from preheat.oci.model.image_name import DOCKER_HUB

# The key of Docker Hub's login in docker's config.json.
_HUB_KEY = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # noqa: S105 - the user name that helpers return with an identity token
_HELPER_S = 30


@dataclass(frozen=True, slots=True)
class Login:
    """A user and a password, or an identity token that is exchanged for access tokens. Not in the repr."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """Return the value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


def find_login(host: str, repository: str, files: Sequence[Path], environ: Mapping[str, str]) -> Login | None:
    """Return the login for a repository from the first of `files` that has one. Raise ImageError if a helper fails."""
    for path in files:
        try:
            document = json.loads(read_regular(path))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict) and (found := _find(document, host, repository, environ)):
            return found
    return None


def _find(document: dict[str, object], host: str, repository: str, environ: Mapping[str, str]) -> Login | None:
    keys = _keys(host, repository)
    helpers = document.get("credHelpers")
    for key in keys:
        if isinstance(helpers, dict) and isinstance(helper := helpers.get(key), str):
            return _ask(helper, key, environ)
    auths = document.get("auths")
    for key in keys:
        entry = auths.get(key) if isinstance(auths, dict) else None
        if isinstance(entry, dict) and (found := _read(entry)):
            return found
    store = document.get("credsStore")
    if isinstance(store, str) and store:
        return next((found for key in keys if (found := _ask(store, key, environ))), None)
    return None


def _keys(host: str, repository: str) -> list[str]:
    """Return the keys under which a login may be stored, the most specific first."""
    if host == DOCKER_HUB:
        return [_HUB_KEY, "docker.io", "index.docker.io"]
    parts = repository.split("/")
    paths = ["/".join((host, *parts[:count])) for count in range(len(parts), 0, -1)]
    return [*paths, host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/"]


def _read(entry: dict[str, object]) -> Login | None:
    token = str(entry.get("identitytoken") or "")
    try:
        user, _, password = base64.b64decode(str(entry.get("auth") or "")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, password = user or str(entry.get("username") or ""), password or str(entry.get("password") or "")
    return Login(user, password.rstrip("\0"), token) if user or token else None


def _ask(helper: str, host: str, environ: Mapping[str, str]) -> Login | None:
    if "/" in helper:
        raise ImageError(f"{helper!r} is not a valid name of a credential helper", hint="check docker's config.json")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=host.encode(),
            capture_output=True,
            check=False,
            timeout=_HELPER_S,
            env=dict(environ),
        )
        if done.returncode:
            return None  # the helper has no login for this host
        said = json.loads(done.stdout)
        user, secret = str(said["Username"]), str(said["Secret"])
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ImageError(
            f"{program} failed to return the login for {host}",
            hint="install the helper, or log in again: docker login, podman login",
        ) from error
    return Login(identity_token=secret) if user == _TOKEN_USER else Login(user, secret)
