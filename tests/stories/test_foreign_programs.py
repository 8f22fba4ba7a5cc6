"""Apps whose program is for another machine, and apps that share a port, end to end."""

import json
import sys

import pytest

from tests.command import Preheat
from tests.guard.apps import free_port
from tests.guard.process.test_program_file import HERE, OTHER, native, program

RECIPE = """[app]
name = "{name}"
command = ["{command}", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
ready = "http://127.0.0.1:{port}/"
"""
NEED = '[[needs]]\nref = "acme/tiny"\nfiles = ["config.json"]\n'


@pytest.fixture
def foreign(preheat: Preheat) -> Preheat:
    """An app that came from another machine with its Python environment."""
    (preheat.folder / ".venv/bin").mkdir(parents=True)
    data = native()
    data[18:20] = OTHER[0].to_bytes(2, "little")
    program(preheat.folder / ".venv/bin/python", bytes(data))
    text = RECIPE.format(name="voice", command="{dir}/.venv/bin/python", port=free_port())
    (preheat.folder / "preheat.toml").write_text(text + NEED)
    assert preheat("pull").status == 0
    return preheat


@pytest.mark.parametrize(
    "words", [("run",), ("prove", "--runs", "1"), ("trace", "-o", "new.toml", "--", ".venv/bin/python", "webui.py")]
)
def test_a_program_of_another_machine_is_one_clear_error(foreign: Preheat, words: tuple[str, ...]) -> None:
    told = foreign(*words)
    assert told.status in (7, 126), told.err
    assert f"it is for {OTHER[1]}, and this machine is {HERE}" in told.err
    assert "the command needs a program that this machine can start" in told.err
    assert "Traceback" not in told.err
    assert not (foreign.folder / "new.toml").exists()


def test_the_second_of_two_apps_with_one_port_names_the_first(preheat: Preheat) -> None:
    port = free_port()
    for name in ("one", "two"):
        (preheat.folder / name).mkdir()
        text = RECIPE.format(name=name, command=sys.executable, port=port)
        (preheat.folder / name / "preheat.toml").write_text(text)
    first = preheat.start("run", "one/preheat.toml", "--json")
    first.until(lambda running: '"life":"running"' in running.err + running.out)
    told = preheat("run", "two/preheat.toml")
    assert told.status == 7, told.err
    assert f"port {port} is taken by " in told.err
    assert "or choose another port for two" in told.err
    assert first.process.poll() is None
    apps = {app["name"]: app for app in preheat("status", "--json").last["running"]}
    assert set(apps) == {"one"}, json.dumps(apps)
