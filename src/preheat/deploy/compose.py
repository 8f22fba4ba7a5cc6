"""Compose: write a service as a compose file; pure."""

import json
from collections.abc import Iterable, Mapping

from preheat.deploy.container_image import ContainerImage
from preheat.deploy.service import Mount, Service

_CONFINED = (
    "    # The app writes to the folders below that are not read-only, and to memory.",
    "    read_only: true",
    '    cap_drop: ["ALL"]',
)
_GPUS = (
    "    deploy:",
    "      resources:",
    "        reservations:",
    "          devices:",
    "            - driver: nvidia",
    "              count: all",
    '              capabilities: ["gpu"]',
)


def compose(service: Service, image: ContainerImage) -> str:
    """Return the compose file.

    Folders are mounted at their own paths, because the views' links and the recipe contain these paths.
    """
    lines = [
        "# docker compose up -d, podman-compose up -d",
        "services:",
        f"  {_quoted(service.name)}:",
        f"    image: {_quoted(image.name)}",
        *_build(image),
        *_user(service),
        *(_CONFINED if service.command else ()),
        *_list("tmpfs", (f"{folder}:mode=1777,exec" for folder in service.scratch)),
        '    security_opt: ["no-new-privileges:true"]',
        *_command(service),
        *_mapping("environment", service.env),
        *_ports(service.ports),
        *_volumes(service.mounts),
        *_health(service),
        f"    stop_grace_period: {service.stop_within_s + 5:.0f}s",
        "    restart: unless-stopped",
        *(_GPUS if service.has_gpu else ()),
    ]
    return "\n".join(lines) + "\n"


def _build(image: ContainerImage) -> list[str]:
    if image.context is None:
        return []
    lines = ["    build:", f"      context: {_quoted(str(image.context))}"]
    if image.dockerfile:
        return [*lines, f"      dockerfile: {_quoted(image.dockerfile)}"]
    text = image.inline.replace("$", "$$").splitlines()
    return [*lines, "      dockerfile_inline: |", *(f"        {line}" for line in text)]


def _user(service: Service) -> list[str]:
    if not service.user:
        return ["    # The user is the image's. Another one: --user UID:GID"]
    remark = '    # With podman as a user who is not root, add: userns_mode: "keep-id"'
    return [*([remark] if service.mounts else []), f"    user: {_quoted(service.user)}"]


def _command(service: Service) -> list[str]:
    if not service.command:
        return []
    folder = [] if service.folder is None else [f"    working_dir: {_quoted(str(service.folder))}"]
    words = (f"      - {_quoted(word)}" for word in service.command)
    return ["    entrypoint:", *words, "    command: []", *folder]


def _ports(ports: tuple[str, ...]) -> list[str]:
    if not ports:
        return []
    remark = (
        "" if ports[0].count(":") > 1 else "    # Other machines reach it too. Only this one: --front 127.0.0.1:PORT"
    )
    return [*([remark] if remark else []), *_list("ports", ports)]


def _volumes(mounts: tuple[Mount, ...]) -> list[str]:
    lines = ["    volumes:"] if mounts else []
    for mount in mounts:
        path = _quoted(str(mount.path))
        lines += ["      - type: bind", f"        source: {path}", f"        target: {path}"]
        lines += [] if mount.writable else ["        read_only: true"]
    return lines


def _health(service: Service) -> list[str]:
    start_s, said = service.health_start
    return [
        "    # Also needed for images that have a health check: podman drops it from OCI images.",
        "    healthcheck:",
        "      test:",
        *(f"        - {_quoted(word)}" for word in ("CMD", *service.check)),
        f"      interval: {service.health_interval_s}s",
        "      timeout: 10s",
        "      retries: 3",
        f"      # Failed checks do not count while the app loads: {said}.",
        f"      start_period: {start_s:.0f}s",
    ]


def _mapping(name: str, values: Mapping[str, str]) -> list[str]:
    found = [f"      {_quoted(key)}: {_quoted(value)}" for key, value in sorted(values.items())]
    return [f"    {name}:", *found] if found else []


def _list(name: str, values: Iterable[str]) -> list[str]:
    lines = [f"      - {_quoted(value)}" for value in values]
    return [f"    {name}:", *lines] if lines else []


def _quoted(text: str) -> str:
    """Quote as JSON, which is valid YAML; double each dollar sign, which would start a compose variable."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)
