"""App port: the port at which an app listens, and how its recipe says that the app takes it: by `{port}`."""

from dataclasses import replace

from preheat.core.errors import UsageError
from preheat.guard.model.app import PORT, USUAL_PORT
from preheat.guard.probes.probes import port_of
from preheat.recipes.recipe import Recipe


def usual_port(recipe: Recipe) -> int:
    """Return the port of a recipe: its `port`, else that of its ready probe, else 7860."""
    if recipe.port:
        return recipe.port
    try:
        own = port_of(recipe.ready) if PORT not in recipe.ready else None
    except ValueError:
        own = None
    return own or USUAL_PORT


def at_port(recipe: Recipe, port: int | None) -> Recipe:
    """Return the recipe with its app at `port`, by default at its usual port: `{port}` is replaced everywhere.

    The ready probe follows. Raise UsageError if the recipe does not say how the app takes another port.
    """
    usual = usual_port(recipe)
    chosen = port or usual
    if chosen != usual and not any(PORT in text for text in (*recipe.command, *recipe.env.values())):
        raise UsageError(
            f"{recipe.name} does not say how the app takes its port, so it would still listen on {usual}",
            hint='in [app]: env = { GRADIO_SERVER_PORT = "{port}" }, or "--port", "{port}" in command',
        )

    def here(text: str) -> str:
        return text.replace(PORT, str(chosen))

    return replace(
        recipe,
        command=tuple(map(here, recipe.command)),
        env={name: here(value) for name, value in recipe.env.items()},
        ready=ready_at(recipe.ready, usual, chosen),
        first=here(recipe.first),
    )


def ready_at(probe: str, usual: int, chosen: int) -> str:
    """Return a probe of the port `usual` as one of the port `chosen`; a probe of another port stays as it is."""
    if PORT in probe:
        return probe.replace(PORT, str(chosen))
    try:
        own = port_of(probe) if probe else None
    except ValueError:
        own = None  # reported when it is parsed
    return probe.replace(f":{usual}", f":{chosen}", 1) if own == usual else probe
