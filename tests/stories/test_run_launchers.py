"""Run with a start script that ends: the app goes on in the background, and is supervised like any other."""

import os
import shlex
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.guard.kernel import process_tree
from tests.command import Preheat, Running
from tests.guard.apps import free_port, runs
from tests.stories.caches import write
from tests.stories.test_run import PAGE, PYTHON

# As in gunicorn --daemon: forks twice, with a session of its own.
DAEMON = """
import os
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
"""
SCRIPTS = {
    "in the background": "{python} page.py {port} &\nexit 0\n",
    "nohup": "nohup {python} page.py {port} > nohup.log 2>&1 &\n",
    "a daemon": "exec {python} daemon.py {port} 2> nohup.log\n",
}


@pytest.fixture
def start(preheat: Preheat) -> Callable[..., tuple[Running, int]]:
    """Return a function that runs a start script, and returns its port."""

    def started(script: str, *words: str) -> tuple[Running, int]:
        port = free_port()
        write(preheat.folder / "page.py", PAGE.encode())
        write(preheat.folder / "daemon.py", (DAEMON + PAGE).encode())
        text = script.format(python=shlex.join(PYTHON), port=port)
        write(preheat.folder / "start_app.sh", b"#!/bin/bash\n" + text.encode())
        ready = ("--ready", f"http://127.0.0.1:{port}/")
        return preheat.start("run", "--json", *ready, *words, "--", "bash", "start_app.sh"), port

    return started


def page(port: int) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://127.0.0.1:{port}/") as answer:
        body: bytes = answer.read()
        return body


def app_at(port: int) -> int:
    """Return the PID of the app at a port; it may see another one in its PID namespace."""
    found = [
        member.pid for member in process_tree.members() if not member.dead and _words(member.pid)[-1:] == [str(port)]
    ]
    return found[0] if found else 0


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def is_ready(times: int) -> Callable[[Running], bool]:
    return lambda running: running.err.count('"detail":"ready after') >= times


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_app_is_served_restarted_after_a_crash_and_stopped(
    start: Callable[..., tuple[Running, int]], script: str
) -> None:
    running, port = start(SCRIPTS[script])
    running.until(is_ready(1))
    assert page(port) == b"hello"
    assert '"life":"starting","detail":"the command ended with status 0; the processes that it left' in running.err
    os.kill(app_at(port), signal.SIGKILL)
    running.until(is_ready(2))
    assert page(port) == b"hello"
    assert "killed by SIGKILL" in running.err
    app = app_at(port)
    assert running.kill(signal.SIGINT).status == 130
    assert not runs(app)


def test_without_a_network_too(start: Callable[..., tuple[Running, int]]) -> None:
    running, port = start(SCRIPTS["nohup"], "--network", "none")
    running.until(is_ready(1))
    assert page(port) == b"hello"
    assert running.kill(signal.SIGINT).status == 130
    assert not app_at(port)


def test_what_is_left_without_the_port_is_not_the_app(start: Callable[..., tuple[Running, int]]) -> None:
    running, port = start("tail -f /dev/null &\n" + SCRIPTS["in the background"])
    running.until(is_ready(1))
    os.kill(app_at(port), signal.SIGKILL)
    running.until(lambda running: "killed by SIGKILL (none of its processes listens on port" in running.err)
    running.until(is_ready(2))
    assert running.kill(signal.SIGINT).status == 130


def test_an_app_that_fails_in_the_background_is_reported_with_its_reason(
    start: Callable[..., tuple[Running, int]],
) -> None:
    running, _ = start("{python} -c 'import no_such_module' {port} &\n", "--max-restarts", "0")
    told = running.ended()
    assert told.status == 1
    assert "Python cannot import no_such_module" in told.err


def test_an_app_that_never_serves_is_given_up(start: Callable[..., tuple[Running, int]]) -> None:
    told = start("sleep 100 &\n", "--ready-within", "2s")[0].ended()
    assert told.status == 7
    assert "not ready within 2 s" in told.err
