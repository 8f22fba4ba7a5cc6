"""App port: how a recipe says that its app takes a port, and what follows from another one."""

from pathlib import Path

import pytest

from preheat.core.errors import UsageError
from preheat.core.values.replace import replace
from preheat.recipes.app_port import at_port, require_status_apart, usual_port
from preheat.recipes.recipe import Recipe

READY = "http://127.0.0.1:7860/"
TAKES = Recipe("webui", Path("/app"), ("python", "webui.py", "--port", "{port}"), READY, "exec:use {port}")


def test_the_ready_probe_follows_the_port() -> None:
    recipe = at_port(TAKES, 7861)
    assert recipe.command[-1] == "7861"
    assert (recipe.ready, recipe.first) == ("http://127.0.0.1:7861/", "exec:use 7861")
    by_variable = Recipe("webui", Path("/app"), ("python", "webui.py"), READY, env={"GRADIO_SERVER_PORT": "{port}"})
    assert at_port(by_variable, 7861).env == {"GRADIO_SERVER_PORT": "7861"}
    assert at_port(by_variable, 7861).ready == "http://127.0.0.1:7861/"


@pytest.mark.parametrize(
    ("ready", "port", "usual"),
    [
        (READY, 0, 7860),
        (READY, 9000, 9000),
        ("tcp:8188", 0, 8188),
        ("http://127.0.0.1:{port}/", 0, 7860),
        ("http://127.0.0.1:{port}/", 8000, 8000),
        ("line:Running on", 0, 7860),
        ("http://127.0.0.1:99999999/", 0, 7860),
        ("", 0, 7860),
    ],
)
def test_without_another_port_the_app_has_its_usual_one(ready: str, port: int, usual: int) -> None:
    recipe = Recipe("webui", Path("/app"), ("webui", "{port}"), ready, port=port)
    assert usual_port(recipe) == usual
    assert at_port(recipe, None).command == ("webui", str(usual))


def test_a_recipe_that_does_not_say_how_the_app_takes_its_port_is_refused() -> None:
    fixed = Recipe("webui", Path("/app"), ("python", "webui.py"), READY)
    with pytest.raises(UsageError, match="webui does not say how the app takes its port") as raised:
        at_port(fixed, 7861)
    assert "GRADIO_SERVER_PORT" in raised.value.hint
    assert at_port(fixed, 7860) == fixed
    assert at_port(fixed, None) == fixed


def test_a_probe_of_another_port_stays() -> None:
    assert at_port(Recipe("a", Path("/app"), ("a", "{port}"), "tcp:9000", port=7860), 7861).ready == "tcp:9000"


def test_the_status_page_has_a_port_of_its_own() -> None:
    taken = "status page would both use port 7861"
    for recipe, chosen, front in (
        (TAKES, 7861, ""),
        (replace(TAKES, port=7861), None, ""),
        (TAKES, None, "0.0.0.0:7861"),
        (Recipe("a", Path("/app"), ("a",), "http://127.0.0.1:7861/"), None, ""),
    ):
        with pytest.raises(UsageError, match=taken):
            require_status_apart(recipe, chosen, front, "127.0.0.1:7861")
        require_status_apart(recipe, chosen, front, "")
    # The front chooses the app's own port, and `--port` another one than the recipe's.
    require_status_apart(replace(TAKES, port=7861), None, ":7860", "127.0.0.1:7861")
    require_status_apart(replace(TAKES, port=7861), 9000, "", "127.0.0.1:7861")
    require_status_apart(Recipe("a", Path("/app"), ("a",)), None, "", "127.0.0.1:7860")


def test_the_hint_says_whether_ready_needs_the_port_too() -> None:
    fixed = Recipe("a", Path("/app"), ("python", "app.py"), READY)
    asked = "exec:curl http://127.0.0.1:7860/"
    for recipe, rest in (
        (fixed, "; ready follows by itself"),
        (replace(fixed, ready=asked, port=7860), "; and {port} in ready, in place of 7860"),
        (replace(fixed, ready="line:listening", port=7860), " in command"),
    ):
        with pytest.raises(UsageError) as raised:
            at_port(recipe, 9000)
        assert raised.value.hint.endswith(rest)
    follows = at_port(replace(fixed, command=("python", "{port}")), 9000)
    assert follows.ready == "http://127.0.0.1:9000/"
    typed = replace(fixed, command=("python", "{port}"), ready=asked.replace("7860", "{port}"), port=7860)
    assert at_port(typed, 9000).ready == "exec:curl http://127.0.0.1:9000/"
