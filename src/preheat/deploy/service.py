"""Service: an app as service managers need it: command, environment, probe, limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Service:
    """What a service file is made of.

    `command` starts the guard with everything behind it; `check` asks it whether the app is ready; `folders` must be
    where they are, wherever it runs; `ports` are the app's; times are the guard's own.
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
