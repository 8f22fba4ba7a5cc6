"""Run --port: an app at another port, if its recipe says how it takes it."""

import http.server
import json
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.guard.apps import free_port
from tests.stories.test_run import PAGE, PYTHON, failed

TAKES = {
    "an argument": ('"{port}"', ""),
    "a variable": ("", 'env = { GRADIO_SERVER_PORT = "{port}" }\n'),
}


@pytest.fixture
def usual(preheat: Preheat) -> int:
    """Write the app, which takes its port as Gradio's apps do; return its usual port."""
    by_both = PAGE.replace("int(sys.argv[1])", "int((sys.argv[1:] or [os.environ['GRADIO_SERVER_PORT']])[0])")
    (preheat.folder / "page.py").write_text(by_both)
    return free_port()


def _recipe(folder: Path, usual: int, argument: str, env: str) -> None:
    words = json.dumps([*PYTHON, "{dir}/page.py"])[:-1] + (f", {argument}]" if argument else "]")
    (folder / "preheat.toml").write_text(
        f'[app]\nname = "talk"\ncommand = {words}\nready = "http://127.0.0.1:{usual}/"\n{env}'
    )


@pytest.mark.parametrize("kind", TAKES)
def test_the_app_listens_at_the_port_and_its_probe_follows(preheat: Preheat, usual: int, kind: str) -> None:
    _recipe(preheat.folder, usual, *TAKES[kind])
    for words, port in (((), usual), (("--port", str(other := free_port())), other)):
        running = preheat.start("run", "--json", *words)
        running.until(lambda running: '"life":"running"' in running.err)
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").read() == b"hello"
        assert running.kill(signal.SIGINT).status == 130


def test_the_probe_of_the_usual_port_follows_the_app_behind_its_front(preheat: Preheat, usual: int) -> None:
    _recipe(preheat.folder, usual, *TAKES["an argument"])
    front = free_port()
    running = preheat.start("run", "--json", "--front", f"127.0.0.1:{front}", "--ready-within", "20s")
    running.until(lambda running: '"life":"running"' in running.err)
    assert urllib.request.urlopen(f"http://127.0.0.1:{front}/").read() == b"hello"
    assert running.kill(signal.SIGINT).status == 130


def test_a_port_that_the_recipe_cannot_pass_on_is_refused(preheat: Preheat, usual: int) -> None:
    _recipe(preheat.folder, usual, f'"{usual}"', "")
    failed(preheat("run", "--port", "7861"), 2, "talk does not say how the app takes its port", '"--port", "{port}"')
    failed(preheat("run", "--port", "70000"), 2, "70000 is not a port")
    failed(preheat("run", "--port", "7861", "--front", ":7860"), 2, "--port and --front exclude each other")
    told = preheat("run", "--status", f"127.0.0.1:{usual}")
    failed(
        told, 2, f"the app and the guard's status page would both use port {usual}", f"--status 127.0.0.1:{usual + 1}"
    )


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which another program answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_port_that_another_program_has_is_an_error_that_names_it(preheat: Preheat, usual: int, taken: int) -> None:
    _recipe(preheat.folder, usual, *TAKES["an argument"])
    told = preheat("run", "--port", str(taken))
    failed(told, 7, f"port {taken} is taken by ", f"(pid {os.getpid()})")


def test_an_app_that_runs_already_is_named_with_the_command_that_stops_it(preheat: Preheat, usual: int) -> None:
    _recipe(preheat.folder, usual, *TAKES["an argument"])
    first = preheat.start("run")
    first.until(lambda running: "app running" in running.err)
    pid = first.process.pid
    told = preheat("run")
    failed(
        told, 7, f"talk is already running at port {usual}, under preheat (pid {pid})", f"hint: to stop it: kill {pid}"
    )
    assert told.err.count("already running") == 1
    other = (preheat.folder / "preheat.toml").read_text().replace('"talk"', '"other"')
    (preheat.folder / "other.toml").write_text(other)
    told = preheat("run", "other.toml")
    failed(
        told, 7, f"port {usual} is taken by talk, which runs under preheat (pid {pid})", "choose another port for other"
    )
    told = preheat("run", "--port", str(free_port()), "--status", f"127.0.0.1:{usual}", "other.toml")
    failed(told, 7, f"port {usual} is taken by talk")
    os.kill(int(told.err.rpartition("kill ")[2].partition(";")[0]), signal.SIGTERM)
    assert first.ended().status == 143


def test_a_taken_port_is_told_once(preheat: Preheat, usual: int, taken: int) -> None:
    _recipe(preheat.folder, usual, *TAKES["an argument"])
    assert preheat("run", "--port", str(taken)).err.count(f"port {taken} is taken") == 1
