"""Image name: the location of an image, in skopeo's syntax (containers-transports(5))."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.core.ref import read_path

SCRATCH, LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE, REGISTRY = "scratch", "oci", "oci-archive", "docker-archive", "docker"
# Stores of podman and docker on this machine; in LOCAL, either of them.
CONTAINERS_STORAGE, DOCKER_DAEMON, LOCAL = "containers-storage", "docker-daemon", "local"
STORES = (CONTAINERS_STORAGE, DOCKER_DAEMON, LOCAL)
_HINT = (
    "oci:DIR:TAG, oci-archive:FILE:TAG, docker-archive:FILE:NAME:TAG, docker://REGISTRY/REPOSITORY:TAG, "
    "containers-storage:NAME:TAG or docker-daemon:NAME:TAG"
)

# https://github.com/distribution/reference: domain, path, tag and digest of a name.
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(?::\d{1,5})?")
DOCKER_HUB = "docker.io"
_PATHS = ("./", "../", "/", "~")  # how a path begins, and no image name
_ID = re.compile(r"[0-9a-f]{12}|[0-9a-f]{64}")  # as `docker images` shows it
_TRANSPORTS = (REGISTRY, LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE, CONTAINERS_STORAGE, DOCKER_DAEMON)


@dataclass(frozen=True, slots=True)
class Name:
    """A repository in a registry, with a tag or digest."""

    host: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def reference(self) -> str:
        """Return the digest if set, else the tag."""
        return self.digest or self.tag

    @property
    def loopback(self) -> bool:
        """Return whether the registry is on this machine."""
        host = re.sub(r":\d+$", "", self.host).strip("[]")
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}" + (f"@{self.digest}" if self.digest else f":{self.tag}")


@dataclass(frozen=True, slots=True)
class ImageName:
    """A location: a folder or file with a tag, a name in a registry, or a tag in a store of this machine."""

    kind: str
    path: Path | None = None
    tag: str = ""
    name: Name | None = None

    def __str__(self) -> str:
        if self.kind == REGISTRY:
            return f"docker://{self.name}"
        if self.kind in STORES:
            return self.tag if self.kind == LOCAL else f"{self.kind}:{self.tag}"
        return self.kind if self.path is None else f"{self.kind}:{self.path}{f':{self.tag}' if self.tag else ''}"


def read_place(text: str) -> ImageName:
    """Parse the location of an image. Raise UsageError if it is invalid."""
    kind, colon, rest = text.partition(":")
    if text == SCRATCH:
        return ImageName(SCRATCH)
    if colon and kind == REGISTRY and rest.startswith("//"):
        return ImageName(REGISTRY, name=read_name(rest[2:]))
    if colon and kind in (LAYOUT, OCI_ARCHIVE, DOCKER_ARCHIVE):
        path, _, tag = rest.partition(":")
        if not path or (tag and kind != DOCKER_ARCHIVE and not _TAG.fullmatch(tag)):
            raise UsageError(f"{text!r} is not a valid image location", hint=_HINT)
        if tag and kind == DOCKER_ARCHIVE:
            read_name(tag)
        return ImageName(kind, read_path(path), tag)
    if colon and kind in (CONTAINERS_STORAGE, DOCKER_DAEMON):
        return ImageName(kind, tag=_stored(rest, "localhost/" if kind == CONTAINERS_STORAGE else ""))
    raise UsageError(f"{text!r} is not a valid image location", hint=_bare_hint(text))


def _bare_hint(text: str) -> str:
    """Return the hint for a name without a location, as other tools take it."""
    if text.startswith(_PATHS):
        file = f"oci-archive:{text}, or docker-archive:{text} (docker load, podman load)"
        return file if text.endswith(".tar") else f"oci:{text} (a folder), or oci-archive:{text}.tar (a file)"
    try:
        read_name(text)
    except UsageError:
        return _HINT
    stores = f"containers-storage:{text} (podman), docker-daemon:{text} (docker)"
    return f"oci:{text} (a folder), {stores} or docker://{text} (registry)"


def read_base(text: str) -> ImageName:
    """Parse the location of an image to read, also as `docker images` and `podman images` show it: `webui:1`.

    Raise UsageError if it is invalid.
    """
    kind, _, rest = text.partition(":")
    if kind == CONTAINERS_STORAGE:
        return ImageName(kind, tag=_stored(rest, ""))
    if text == SCRATCH or kind in _TRANSPORTS:
        return read_place(text)
    try:
        return ImageName(LOCAL, tag=_stored(text, ""))
    except UsageError as error:
        hint = _bare_hint(text) if text.startswith(_PATHS) else _HINT
        raise UsageError(f"{text!r} is not a valid image location", hint=hint) from error


def _stored(text: str, default: str) -> str:
    """Return the name of an image in a store, with a tag; `default` goes in front of a name without a registry."""
    if _ID.fullmatch(text):
        return text
    name = read_name(text)
    tagged = text if name.digest or text.endswith(f":{name.tag}") else f"{text}:{name.tag}"
    return tagged if _has_host(text) else default + tagged


def stored_names(text: str) -> tuple[str, ...]:
    """Return the full names in podman's store for the name of an image in a store, the likeliest first."""
    if _ID.fullmatch(text) or _has_host(text):
        return (text,)
    return f"localhost/{text}", str(read_name(text))


def _has_host(text: str) -> bool:
    head, slash, _ = text.partition("/")
    return bool(slash) and (bool(set(head) & set(".:")) or head == "localhost")


def read_name(text: str) -> Name:
    """Parse `[HOST/]REPOSITORY[:TAG][@DIGEST]` as Docker does; the default host is Docker Hub."""
    rest, at, digest = text.partition("@")
    head, _, tail = rest.partition("/")
    if _has_host(rest):
        host, path = head, tail
    else:
        host, path = DOCKER_HUB, rest
    path, colon, tag = path.partition(":")
    if host in (DOCKER_HUB, "index.docker.io"):
        host = DOCKER_HUB
        path = path if "/" in path else f"library/{path}"
    if (
        not _HOST.fullmatch(host)
        or not _REPOSITORY.fullmatch(path)
        or (at and not _DIGEST.fullmatch(digest))
        or (colon and not _TAG.fullmatch(tag))
    ):
        raise UsageError(
            f"{text!r} is not a valid image name", hint="REGISTRY/REPOSITORY:TAG, lower case except for the tag"
        )
    return Name(host, path, tag or ("" if digest else "latest"), digest)
