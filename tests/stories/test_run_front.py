"""Run with a front and a status address, end to end."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.guard.apps import free_port, until
from tests.guard.supervise.test_instances import WEB

PREHEAT = Path(sys.executable).parent / "preheat"


@contextmanager
def running(tmp_path: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    app = [sys.executable, "-I", "-S", "-u", "-c", WEB, "{port}"]
    with (
        (tmp_path / "events").open("wb") as events,
        subprocess.Popen(
            [str(PREHEAT), "run", "--library", str(tmp_path / "library"), "--json", *words, "--", *app],
            cwd=tmp_path,
            env={**os.environ, "LOADS_S": "0.3"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=events,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


def get(address: str, path: str = "/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def test_an_unmodified_app_is_fronted_reported_and_replaced_as_planned(tmp_path: Path) -> None:
    front, status = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    # The probe names the public port, as in recipes: it is sent to the app's own port.
    words = ["--front", front, "--status", status, "--ready", f"http://{front}/"]
    with running(tmp_path, *words) as process:
        assert until(lambda: get(status, "/readyz")[0] == 200, 60), (tmp_path / "events").read_text()
        first = get(front)
        assert first[0] == 200
        process.send_signal(signal.SIGHUP)
        assert until(lambda: get(front) not in (first, (0, b"")), 30)
        assert until(lambda: b"preheat_app_planned_restarts_total 1" in get(status, "/metrics")[1])
        starts = tmp_path / "library/starts" / Path(sys.executable).name
        assert until(lambda: len(starts.read_text().split()) == 2)
        assert get(status, "/livez")[0] == 200
    assert process.returncode == 143
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert events[-1] == {"event": "done", "status": 143}


def test_a_taken_address_is_reported_before_the_app_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        for option in ("--front", "--status"):
            with running(tmp_path, option, address) as process:
                assert process.wait(30) == 7
            said = json.loads((tmp_path / "events").read_text().splitlines()[-1])
            assert (said["event"], said["kind"]) == ("error", "AppError")
            assert f"(pid {os.getpid()})" in said["message"]


@pytest.mark.parametrize(
    ("words", "fixed", "better"),
    [
        (("--port", "7861"), "--port 7861", "--port {port}"),
        (("--server-port=7861",), "--server-port=7861", "--server-port={port}"),
        (("7860",), "7860", "{port}"),
        (("--bind", "0.0.0.0:8080"), "0.0.0.0:8080", "0.0.0.0:{port}"),
    ],
)
def test_a_front_that_leads_nowhere_is_refused(
    preheat: Preheat, words: tuple[str, ...], fixed: str, better: str
) -> None:
    command = ("run", "--front", "8080", "--ready", "http://127.0.0.1:7860/", "--", "python3", "app.py", *words)
    told = preheat(*command)
    assert told.status == 2
    assert f"python3 fixes its port ({fixed}), but behind a front the guard chooses it" in told.err
    assert f"in place of {fixed[-4:]}: {better}\n" in told.err


def test_a_variable_of_the_recipe_that_fixes_the_port_is_refused_too(preheat: Preheat) -> None:
    recipe = '[app]\nname = "talk"\ncommand = ["true"]\nenv = { GRADIO_SERVER_PORT = "7861" }\n'
    (preheat.folder / "preheat.toml").write_text(recipe)
    for verb in (("run",), ("serve-config", "systemd")):
        told = preheat(*verb, "--front", "127.0.0.1:8080")
        assert told.status == 2
        assert "talk fixes its port (GRADIO_SERVER_PORT=7861)" in told.err
        assert "GRADIO_SERVER_PORT={port}" in told.err


def test_an_app_that_takes_its_port_from_the_environment_runs_behind_a_front_with_a_notice(preheat: Preheat) -> None:
    (preheat.folder / "app.py").write_text(f"import os, sys\nsys.argv = ['', os.environ['PORT']]\n{WEB}")
    front = f"127.0.0.1:{free_port()}"
    running = preheat.start(
        "run", "--front", front, "--", sys.executable, "app.py", LOADS_S="0", GRADIO_SERVER_PORT="1"
    )
    running.until(lambda running: "app running" in running.err)
    assert get(front)[0] == 200
    told = running.kill(signal.SIGTERM)
    assert "its command has no {port}: behind the front, it must take its port from one of PORT, GRADIO" in told.err
    assert "this environment sets GRADIO_SERVER_PORT=1 itself" in told.err


def test_an_app_that_ignores_its_port_leads_to_the_remedy(preheat: Preheat) -> None:
    script = "import http.server; http.server.HTTPServer(('127.0.0.1', 0), None).serve_forever()"
    told = preheat("run", "--front", "0", "--ready-within", "1s", "--", sys.executable, "-c", script)
    assert told.status == 7
    assert "hint: does it take its port from PORT, GRADIO_SERVER_PORT? else insert {port} into its command" in told.err


@pytest.mark.parametrize(("option", "address"), [("--front", "here"), ("--status", "0.0.0.0"), ("--front", "1.2.3.4:")])
def test_an_address_without_a_port_is_refused_with_an_example(preheat: Preheat, option: str, address: str) -> None:
    told = preheat("run", option, address, "--", "true")
    assert told.status == 2
    assert f"{address!r} is not an address: HOST:PORT" in told.err
    assert f"hint: {option} 0.0.0.0:8080, or {option} 8080 for this machine alone" in told.err


def test_a_standby_without_a_front_is_rejected_with_a_hint(tmp_path: Path) -> None:
    with running(tmp_path, "--standby") as process:
        assert process.wait(30) == 2
    assert "--front" in (tmp_path / "events").read_text()
