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


def test_a_standby_without_a_front_is_rejected_with_a_hint(tmp_path: Path) -> None:
    with running(tmp_path, "--standby") as process:
        assert process.wait(30) == 2
    assert "--front" in (tmp_path / "events").read_text()
