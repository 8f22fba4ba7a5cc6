"""Compose: write a service as a compose file; pure."""

import json
from collections.abc import Mapping

from preheat.deploy.service import Service


def compose(service: Service, image: str) -> str:
    """Return the compose file.

    Folders are mounted at their own paths, because the views' links and the recipe contain these paths.
    """
    lines = [
        "# docker compose up -d, podman compose up -d",
        "services:",
        f"  {_quoted(service.name)}:",
        f"    image: {_quoted(image)}",
        "    entrypoint:",
        *(f"      - {_quoted(word)}" for word in service.command),
        "    command: []",
        f"    working_dir: {_quoted(str(service.folder))}",
        *_mapping("environment", service.env),
        *_list("ports", [f"{port}:{port}" for port in service.ports]),
        *_list("volumes", [f"{folder}:{folder}" for folder in map(str, service.folders)]),
        "    healthcheck:",
        "      test:",
        *(f"        - {_quoted(word)}" for word in ("CMD", *service.check)),
        "      interval: 10s",
        "      timeout: 5s",
        "      retries: 3",
        "      # Failed checks do not count while the app loads.",
        f"      start_period: {service.ready_within_s:.0f}s",
        f"    stop_grace_period: {service.stop_within_s + 5:.0f}s",
        "    restart: unless-stopped",
    ]
    return "\n".join(lines) + "\n"


def _mapping(name: str, values: Mapping[str, str]) -> list[str]:
    found = [f"      {_quoted(key)}: {_quoted(value)}" for key, value in sorted(values.items())]
    return [f"    {name}:", *found] if found else []


def _list(name: str, values: list[str]) -> list[str]:
    return [f"    {name}:", *(f"      - {_quoted(value)}" for value in values)] if values else []


def _quoted(text: str) -> str:
    """Quote as JSON, which is valid YAML; double each dollar sign, which would start a compose variable."""
    return json.dumps(text.replace("$", "$$"), ensure_ascii=False)
