"""Container port: the port at which an app in a container is reached, and the guard's options for it; pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from preheat.guard.model.app import PORT, USUAL_PORT
from preheat.guard.probes.probes import port_of


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """`number` is the port at the container's own addresses, None if unknown; `options` are the guard's for it."""

    number: int | None = None
    options: tuple[str, ...] = ()


def container_port(ready: str, texts: Iterable[str], public: int | None = None) -> ContainerPort:
    """Return the port of an app in a container.

    An app that takes `{port}` in its command, environment or probe (`texts`, `ready`) gets a front at `public`, by
    default at port 7860. Any other app keeps the port of its ready probe, which the guard publishes if the app listens
    only on loopback.
    """
    if PORT in ready or any(PORT in text for text in texts):
        number = public or USUAL_PORT
        return ContainerPort(number, ("--front", f"0.0.0.0:{number}"))
    try:
        own = port_of(ready) if ready else None
    except ValueError:  # reported when the probe is parsed
        own = None
    return ContainerPort() if own is None else ContainerPort(own, ("--publish",))
