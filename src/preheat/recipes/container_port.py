"""Container port: the port at which an app in a container is reached, and the guard's options for it; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from preheat.core.values.replace import replace
from preheat.guard.model.app import PORT
from preheat.guard.probes.probes import port_of
from preheat.recipes.app_port import at_port, listening_port, ready_at, require_own_port, takes_port, usual_port
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
        number = listening_port(recipe, chosen)
        ready = ready_at(recipe.ready, usual_port(recipe), PORT)
        options: tuple[str, ...] = ("--front", f"0.0.0.0:{number}")
    else:
        number, ready = listening_port(here, chosen), here.ready
        options = () if number is None else _published(ready, number)
    require_own_port(number, status)
    return ContainerPort(number, ready, options)


def _published(ready: str, number: int) -> tuple[str, ...]:
    try:
        probed = port_of(ready) if ready else None
    except ValueError:  # reported when the probe is parsed
        probed = None
    return ("--publish",) if probed == number else ("--publish", "--port", str(number))
