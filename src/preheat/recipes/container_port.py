"""Container port: the port at which an app in a container is reached, and the guard's options for it; pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from preheat.core.errors import UsageError
from preheat.guard.model.app import PORT
from preheat.guard.probes.probes import port_of
from preheat.recipes.app_port import at_port, fixed_port, ready_at, takes_port, usual_port
from preheat.recipes.recipe import Recipe


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """The port of an app in a container.

    `number` is the port at the container's own addresses, None if unknown. `ready` is the probe and `options` are the
    options for the guard, by which it makes the app reachable there.
    """

    number: int | None
    ready: str
    options: tuple[str, ...]

    def filled(self, text: str) -> str:
        """Return a text with the port in place of `{port}`, for an app that starts without the guard."""
        return text if self.number is None else text.replace(PORT, str(self.number))


def container_port(recipe: Recipe, started: Sequence[str], status: str, chosen: int | None = None) -> ContainerPort:
    """Return the port of an app in a container that starts the words `started`: `chosen`, or else the recipe's.

    An app that takes `{port}` gets a front at that port. Any other app has a fixed port, which the guard publishes if
    the app listens only on loopback. Raise UsageError for a port that the app does not take, or that `status`, the
    address of the guard's status page, uses.
    """
    recipe = replace(recipe, command=tuple(started))
    here = at_port(recipe, chosen)
    if takes_port(recipe):
        number: int | None = chosen or usual_port(recipe)
        ready = ready_at(recipe.ready, usual_port(recipe), PORT)
        options: tuple[str, ...] = ("--front", f"0.0.0.0:{number}")
    else:
        number, ready = chosen or fixed_port(here), here.ready
        options = () if number is None else _published(ready, number)
    if number is not None and number == _port_at(status):
        raise UsageError(
            f"the app and the guard's status page would both use port {number}",
            hint=f"--status 127.0.0.1:{number + 1 if number < 65535 else number - 1}",
        )
    return ContainerPort(number, ready, options)


def _published(ready: str, number: int) -> tuple[str, ...]:
    try:
        probed = port_of(ready) if ready else None
    except ValueError:  # reported when the probe is parsed
        probed = None
    return ("--publish",) if probed == number else ("--publish", "--port", str(number))


def _port_at(address: str) -> int | None:
    port = address.rpartition(":")[2]
    return int(port) if port.isdecimal() else None
