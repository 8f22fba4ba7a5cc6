"""Container port: the recipe's port is the one of its container, and the guard gets the options for it."""

from pathlib import Path

import pytest

from preheat.core.errors import UsageError
from preheat.core.values.replace import replace
from preheat.recipes.container_port import ContainerPort, container_port
from preheat.recipes.recipe import Recipe

STATUS = "127.0.0.1:7861"
TAKES = Recipe("webui", Path("/app"), ("webui", "--port", "{port}"), "http://127.0.0.1:8000/", port=8000)
FIXED = replace(TAKES, command=("webui",), port=0)


def port_of(recipe: Recipe, chosen: int | None = None, started: tuple[str, ...] | None = None) -> ContainerPort:
    return container_port(recipe, recipe.command if started is None else started, STATUS, chosen)


@pytest.mark.parametrize(
    ("recipe", "number"),
    [
        (TAKES, 8000),
        (replace(TAKES, port=0), 8000),  # of the probe
        (replace(TAKES, ready="http://127.0.0.1:{port}/"), 8000),
        (replace(TAKES, ready="line:Running on"), 8000),
        (replace(TAKES, ready="", port=0), 7860),
        (replace(FIXED, env={"GRADIO_SERVER_PORT": "{port}"}), 8000),
    ],
)
def test_an_app_that_takes_its_port_gets_a_front_at_the_recipes_port(recipe: Recipe, number: int) -> None:
    port = port_of(recipe)
    assert (port.number, port.options) == (number, ("--front", f"0.0.0.0:{number}"))
    # The guard chooses the port behind the front, so its probe must not name the one of the front.
    assert port.ready == recipe.ready.replace(":8000", ":{port}")
    assert port_of(recipe, 9000).options == ("--front", "0.0.0.0:9000")
    assert port_of(recipe, 9000).ready == port.ready
    assert port.filled("--port {port}") == f"--port {number}"


@pytest.mark.parametrize(
    ("recipe", "number", "options"),
    [
        (FIXED, 8000, ("--publish",)),
        (replace(FIXED, ready="line:Running on", port=9000), 9000, ("--publish", "--port", "9000")),
        (replace(FIXED, port=9000), 9000, ("--publish", "--port", "9000")),  # the probe asks a port for administrators
        (replace(FIXED, ready="http://127.0.0.1:{port}/"), 7860, ("--publish",)),
        (replace(FIXED, ready=""), None, ()),
        (replace(FIXED, ready="http://127.0.0.1:99999999/"), None, ()),
    ],
)
def test_any_other_app_is_published_at_its_own_port(
    recipe: Recipe, number: int | None, options: tuple[str, ...]
) -> None:
    port = port_of(recipe)
    assert (port.number, port.options) == (number, options)
    assert port.ready == recipe.ready.replace("{port}", "7860")


def test_a_base_that_starts_its_own_command_without_the_port_gets_no_front() -> None:
    port = port_of(TAKES, started=("/start.sh",))
    assert (port.number, port.ready, port.options) == (8000, TAKES.ready, ("--publish",))


def test_a_port_that_the_app_does_not_take_or_that_is_taken_is_refused() -> None:
    with pytest.raises(UsageError, match="webui does not say how the app takes its port"):
        port_of(FIXED, 9000)
    assert port_of(FIXED, 8000) == port_of(FIXED)
    with pytest.raises(UsageError, match="70000 is not a port"):
        port_of(TAKES, 70000)
    for recipe, chosen in ((TAKES, 7861), (replace(TAKES, port=7861), None), (replace(FIXED, port=7861), None)):
        with pytest.raises(UsageError, match="status page would both use port 7861") as raised:
            port_of(recipe, chosen)
        assert raised.value.hint == "--status 127.0.0.1:7862"
    assert container_port(TAKES, TAKES.command, "", 7861).number == 7861
    with pytest.raises(UsageError) as raised:
        container_port(TAKES, TAKES.command, "0.0.0.0:7861", 7861)
    assert raised.value.hint == "--status 0.0.0.0:7862", "the hint keeps the address, which a kubelet must reach"
