"""Service: describe an app for service managers: command, environment, health check, limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Service:
    """The contents of a service file.

    `command` starts the guard with all arguments; `check` is a command that exits with 0 when the app is ready;
    `folders` must exist at the same paths where the service runs. `ports` are the ports that the app listens on.
    `ready_within_s` and `stop_within_s` are the limits that the guard applies to the app, in seconds.
    """

    name: str
    command: tuple[str, ...]
    check: tuple[str, ...]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    ports: tuple[int, ...] = ()
    ready_within_s: float = 600.0
    stop_within_s: float = 10.0
    renews: bool = False
