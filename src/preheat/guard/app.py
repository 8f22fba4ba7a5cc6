"""App: a program to start, and how it says that it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping


@dataclass(frozen=True)
class App:
    """A command with its surroundings; `ready` is a probe as probes.py reads it, empty when being alive is enough.

    `env` is the whole environment, None for the guard's own; `cwd` None for the guard's own.
    """

    command: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    ready: str = ""
