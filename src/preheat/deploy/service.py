"""Service: describe an app for service managers: command, environment, folders, ports, health check, limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.units import say_count

# A start on a slower machine may take longer than here; its failed checks must not count either.
_START_FACTOR = 3.0
_SHORTEST_START_S = 30.0
HEALTH_INTERVAL_S = 10


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder that the service sees at its own path."""

    path: Path
    writable: bool = False


@dataclass(frozen=True, slots=True)
class StartTime:
    """How long starts of the app took: the slowest of the last `count` ones, in seconds; no count if none is known."""

    slowest_s: float = 0.0
    count: int = 0

    def allow(self, at_least_s: float, factor: float) -> float:
        """Return a limit for a start in seconds: `factor` times the slowest one, `at_least_s` or longer."""
        return max(at_least_s, factor * self.slowest_s)


@dataclass(frozen=True, slots=True)
class Service:
    """The contents of a service file.

    `command` starts the guard with all arguments, and is empty if the image does; `check` is a command that exits with
    0 when the app is ready. `folder` is the working directory, None for the image's own. `mounts` must exist at the
    same paths where the service runs. `ports` map addresses of the machine to ports of the container, as compose
    writes them. `user` is a name, or UID:GID for a container; empty for the user who starts the service, or the
    image's. `scratch` are folders in memory. `ready_within_s` and `stop_within_s` are the limits that the guard applies
    to the app, in seconds; `health_interval_s` is the time between two health checks; `start` is how long its starts
    took. `renews`: SIGHUP restarts the app behind its front. `has_gpu`: the app gets the machine's GPUs.
    `saves_memory`: the app is restored from memory snapshots.
    """

    name: str
    command: tuple[str, ...]
    check: tuple[str, ...]
    folder: Path | None
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    ports: tuple[str, ...] = ()
    user: str = ""
    scratch: tuple[str, ...] = ()
    ready_within_s: float = 600.0
    stop_within_s: float = 10.0
    health_interval_s: int = HEALTH_INTERVAL_S
    start: StartTime = StartTime()
    renews: bool = False
    has_gpu: bool = False
    saves_memory: bool = False

    @property
    def health_start(self) -> tuple[float, str]:
        """Return for how long failed health checks do not count, in seconds, and the reason, a phrase."""
        start = self.start
        if not start.count:
            return self.ready_within_s, "no start by `preheat run` was measured here: the time limit of a start"
        said = f"the slowest of {say_count(start.count, 'start')} by `preheat run` took {start.slowest_s:.1f} s here"
        return start.allow(_SHORTEST_START_S, _START_FACTOR), said
