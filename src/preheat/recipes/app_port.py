"""App port: the port at which an app listens, and how its recipe says that the app takes it: by `{port}`."""

import re
from collections.abc import Mapping, Set

from preheat.core.errors import UsageError
from preheat.core.values.replace import replace
from preheat.guard.model.app import PORT, PORT_VARIABLES, USUAL_PORT
from preheat.guard.options import read_address
from preheat.guard.probes.probes import port_of
from preheat.recipes.recipe import Recipe

# How commands name the port of their page.
_PORT_OPTION = re.compile(r"--(?:(?:server|listen|http|gradio)[-_])?port")
_PORT_WORD = re.compile(rf"{_PORT_OPTION.pattern}=\d+|--bind=\S*:\d+")


def takes_port(recipe: Recipe) -> bool:
    """Return whether the recipe says how the app takes its port: by `{port}` in its command or environment."""
    return any(PORT in text for text in (*recipe.command, *recipe.env.values()))


def fixed_port(recipe: Recipe) -> int | None:
    """Return the port that a recipe names: its `port`, else that of its ready probe; None if it names none."""
    if recipe.port:
        return recipe.port
    try:
        return port_of(recipe.ready) if PORT not in recipe.ready else None
    except ValueError:
        return None


def usual_port(recipe: Recipe) -> int:
    """Return the port of a recipe: the one that it names, else 7860."""
    return fixed_port(recipe) or USUAL_PORT


def at_port(recipe: Recipe, port: int | None) -> Recipe:
    """Return the recipe with its app at `port`, by default at its usual port: `{port}` is replaced everywhere.

    The ready probe follows. Raise UsageError if the recipe does not say how the app takes another port, or if `port`
    is not a port.
    """
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"{port} is not a port: 1 to 65535", hint="--port 7861")
    usual = usual_port(recipe)
    chosen = port or usual
    if chosen != usual and not takes_port(recipe):
        raise UsageError(
            f"{recipe.name} does not say how the app takes its port, so it would still listen on {usual}",
            hint='in [app]: env = { GRADIO_SERVER_PORT = "{port}" }, or "--port", "{port}" in command'
            + _ready_too(recipe.ready, usual),
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


def behind_front(recipe: Recipe, front: str) -> Recipe:
    """Return the recipe for an app behind a front: its ready probe is of `{port}`, the port that the guard chooses.

    Raise UsageError if its command, or a variable of its recipe, fixes another port: the front would lead nowhere.
    """
    usual = usual_port(recipe)
    own = {read_address(front)[1], fixed_port(recipe)} - {0, None}
    fixed = "" if takes_port(recipe) else _fixed_by(recipe, own)
    if fixed:
        port = re.findall(r"\d+", fixed)[-1]
        raise UsageError(
            f"{recipe.name} fixes its port ({fixed}), but behind a front the guard chooses it",
            hint=f"write {PORT} in place of {port}: {fixed.replace(port, PORT)}",
        )
    return replace(recipe, ready=ready_at(recipe.ready, usual, PORT))


def untold_port(recipe: Recipe, environ: Mapping[str, str]) -> str:
    """Return how an app behind a front learns its port if its recipe does not say it; empty if it does."""
    if takes_port(recipe):
        return ""
    own = [f"{name}={environ[name]}" for name in PORT_VARIABLES if name in environ]
    more = f"; this environment sets {', '.join(own)} itself" if own else ""
    names = ", ".join(PORT_VARIABLES)
    return f"its command has no {PORT}: behind the front, it must take its port from one of {names}{more}"


def _fixed_by(recipe: Recipe, ports: Set[int | None]) -> str:
    """Return the words of a command, or the variable, that give the app a port of its own; empty if none do."""
    words = recipe.command
    for word, following in zip(words, (*words[1:], ""), strict=True):
        if _PORT_OPTION.fullmatch(word) and following.isdecimal():
            return f"{word} {following}"
        if _PORT_WORD.fullmatch(word) or any(re.fullmatch(rf"(?:.*[=:])?{port}", word) for port in ports):
            return word
    given = (f"{name}={recipe.env[name]}" for name in PORT_VARIABLES if recipe.env.get(name, "").isdecimal())
    return next(given, "")


def _ready_too(ready: str, usual: int) -> str:
    """Return the rest of a hint: whether a ready probe follows the app to another port by itself."""
    if not ready or PORT in ready:
        return ""
    if PORT in ready_at(ready, usual, PORT):
        return "; ready follows by itself"
    return f"; and {PORT} in ready, in place of {usual}" if str(usual) in ready else ""


def listening_port(recipe: Recipe, chosen: int | None) -> int | None:
    """Return the port at which an app listens if `chosen` is wanted; None if the recipe names none."""
    return chosen or (usual_port(recipe) if takes_port(recipe) else fixed_port(recipe))


def require_addresses(front: str, status: str, *, standby: bool) -> None:
    """Raise UsageError if an address of the guard is none, or if a standby has no front."""
    for option, address in (("--front", front), ("--status", status)):
        try:
            if address:
                read_address(address)
        except ValueError as error:
            raise UsageError(
                str(error), hint=f"{option} 0.0.0.0:8080, or {option} 8080 for this machine alone"
            ) from error
    if standby and not front:
        raise UsageError("--standby requires --front: two instances cannot share one port", hint="--front 0.0.0.0:7860")


def require_status_apart(recipe: Recipe, chosen: int | None, front: str, status: str) -> None:
    """Raise UsageError if the status page, at the address `status`, would use the port of the app or of its front."""
    public = front.rpartition(":")[2]
    require_own_port(int(public) if public.isdecimal() else listening_port(recipe, chosen), status)


def require_own_port(port: int | None, status: str) -> None:
    """Raise UsageError if the guard's status page, at the address `status`, would use the app's port."""
    host, _, used = status.rpartition(":")
    if port is not None and used.isdecimal() and int(used) == port:
        raise UsageError(
            f"the app and the guard's status page would both use port {port}",
            hint=f"--status {host}:{port + 1 if port < 65535 else port - 1}",
        )


def ready_at(probe: str, usual: int, chosen: int | str) -> str:
    """Return a probe of the port `usual` as one of the port `chosen`; a probe of another port stays as it is.

    `chosen` may be `{port}`, which the guard replaces.
    """
    if PORT in probe:
        return probe.replace(PORT, str(chosen))
    try:
        own = port_of(probe) if probe else None
    except ValueError:
        own = None  # reported when it is parsed
    return probe.replace(f":{usual}", f":{chosen}", 1) if own == usual else probe
