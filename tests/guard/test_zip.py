"""The guard as one file: the same behaviour in any Python, and its errors for invalid input."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.guard.apps import free_port, runs, until
from tests.guard.supervise.test_instances import WEB
from tests.guard.test_old_interpreter import old_python
from tests.guard.zipped import guard, guard_zip, start

PYTHON = (sys.executable, "-I", "-S", "-u", "-c")


def test_it_needs_nothing_else_and_passes_the_apps_status_on() -> None:
    for python in filter(None, (sys.executable, old_python())):
        done = guard("--max-restarts", "0", "--", "sh", "-c", "echo out; echo err >&2; exit 5", python=python)
        assert (done.returncode, done.stdout) == (5, "out\n"), done.stderr
        assert "err\n" in done.stderr


def test_an_app_does_not_wait_for_modules_that_few_starts_need() -> None:
    words = [sys.executable, "-X", "importtime", guard_zip(), "--", "true"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    imported = set(re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert "preheat.guard.supervise.supervisor" in imported
    # `dataclasses` brings `inspect`, and takes half as long to import as all of the guard.
    assert not imported & {"dataclasses", "http.client", "inspect", "json", "shutil", "socket", "ssl", "subprocess"}


def test_the_zip_is_reproducible(tmp_path: Path) -> None:
    code = f"""
import decimal, email.message, json, logging, unittest
from pathlib import Path
from preheat.deploy.guard_zip import write_guard_zip
write_guard_zip(Path({str(tmp_path / "again")!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "again").read_bytes() == Path(guard_zip()).read_bytes()


def test_it_reads_a_config_file_and_the_command_line_takes_precedence(tmp_path: Path) -> None:
    config = tmp_path / "guard.json"
    words = {"command": [*PYTHON, "import os; print(os.environ['X'], os.getcwd()); 1 / 0"], "max-restarts": 5}
    config.write_text(json.dumps({**words, "env": {"X": "y"}, "cwd": str(tmp_path), "ready": "line:never"}))
    done = guard("--config", str(config), "--max-restarts=0")
    assert (done.returncode, done.stdout) == (1, f"y {tmp_path}\n"), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", ""], "no such command"),
        (["--ready", "soon", "--", "true"], "is not a probe"),
        (["--reddy", "tcp:1", "--", "true"], "unknown option 'reddy'"),
        (["--ready"], "requires a value"),
        (["true"], "the command comes after --"),
        (["--ready-within", "soon", "--", "true"], "is not a time"),
        (["--max-restarts", "many", "--", "true"], "is not a whole number"),
        (["--status", "here", "--", "true"], "is not an address"),
        (["--standby", "--", "true"], "--standby requires --front"),
        (["--config", "/nowhere.json"], "No such file"),
        (["--warm", "/nowhere", "--", "true"], "No such file"),
    ],
)
def test_invalid_options_are_rejected_with_clear_messages(words: list[str], said: str) -> None:
    done = guard(*words)
    assert said in done.stderr
    assert done.returncode in (2, 7)
    assert "Traceback" not in done.stderr


def test_a_missing_or_non_executable_command_is_fatal_at_once(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    assert "no such command" in guard("--", "nowhere-to-be-found").stderr
    done = guard("--", str(tmp_path / "text"))
    assert (done.returncode, "it is not executable" in done.stderr) == (7, True)


def test_a_taken_address_is_reported_with_its_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        for option in ("--status", "--front"):
            done = guard(option, address, "--", "sleep", "60")
            assert done.returncode == 7
            assert f"is taken by {Path(sys.executable).name[:15]} (pid {os.getpid()})" in done.stderr


def test_binary_output_that_fills_the_pipe_is_passed_on() -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 4000)"
    done = subprocess.run([sys.executable, guard_zip(), "--", *PYTHON, code], capture_output=True, check=False)
    assert done.stdout == bytes(range(256)) * 4000


def test_stopping_a_deaf_app_takes_no_longer_than_the_grace_period() -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    with start("--stop-within", "500ms", "--", *PYTHON, deaf) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        process.terminate()
        process.wait(20)
        assert 0.5 <= time.monotonic() - began < 3  # the benchmark measures the time itself
        assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.slow
def test_a_signal_is_never_lost() -> None:
    # A signal that arrives between Python's check for signals and its sleep could be missed.
    for turn in range(60):
        code = "print('up', flush=True); import time; time.sleep(60)"
        with start("--stop-within", "5s", "--ready", "line:up", "--", *PYTHON, code) as process:
            assert process.stderr is not None
            while b"running" not in process.stderr.readline():
                continue
            time.sleep(turn * 0.00005)
            process.terminate()
            assert process.wait(20) == 143


def test_systemd_is_notified_of_ready_and_stopping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        code = "import os, time; print('NOTIFY_SOCKET' in os.environ); time.sleep(.2); print('up'); time.sleep(60)"
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with start("--ready", "line:up", "--", *PYTHON, code, env=env) as process:
            said = [systemd.recv(4096).decode().splitlines() for _ in range(2)]
            process.terminate()
            out, _ = process.communicate(timeout=20)
        said.append(systemd.recv(4096).decode().splitlines())
    assert said[0][0].startswith("EXTEND_TIMEOUT_USEC=")
    assert said[1][0] == "READY=1"
    assert said[1][1].startswith("STATUS=running: ready after")
    assert said[2][0] == "STOPPING=1"
    assert out.startswith(b"False\n")


def test_systemds_watchdog_is_fed_while_nothing_happens_and_hidden_from_the_app(tmp_path: Path) -> None:
    code = "import os, time; print([name for name in os.environ if 'WATCHDOG' in name]); time.sleep(60)"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        with start("--", *PYTHON, code, env=env) as process:
            beats = 0
            while beats < 5:
                beats += systemd.recv(4096) == b"WATCHDOG=1"
            process.terminate()
            out, _ = process.communicate(timeout=20)
    assert out == b"[]\n"


def test_a_watchdog_of_another_process_is_not_fed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        watched = {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), **watched}
        with start("--", *PYTHON, "import time; time.sleep(0.5)", env=env) as process:
            process.communicate(timeout=20)
        said: list[bytes] = []
        while not said or b"STOPPING=1" not in said[-1]:
            said.append(systemd.recv(4096))
    assert b"WATCHDOG=1" not in said


def test_times_use_a_monotonic_clock() -> None:
    # The wall clock may be set during a wait; no wait in the guard uses it.
    guard = Path(__file__).parents[2] / "src/preheat/guard"
    sources = [path for path in guard.rglob("*.py") if "shim" not in path.parts]
    waits = [path.name for path in sources if "time.time()" in path.read_text().replace("`at` is time.time()", "")]
    assert sorted(waits) == [
        "connection_counts.py",
        "file_opens.py",
        "freeze.py",
    ]  # they record when something happened


@pytest.mark.parametrize("standby", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_no_request_is_lost_across_planned_restarts(standby: bool) -> None:
    address = f"127.0.0.1:{free_port()}"
    words = ["--front", address, "--ready", "http://127.0.0.1:{port}/", *(["--standby"] if standby else [])]
    env = {**os.environ, "LOADS_S": "0.3"}
    answers: list[object] = []
    over = threading.Event()

    def ask() -> None:
        asked = 0
        while not over.wait(0.08):
            asked += 1
            connection = http.client.HTTPConnection(address, timeout=10)
            try:
                connection.request("GET", "/slow" if asked % 10 == 0 else "/")
                answer = connection.getresponse()
                answers.append(int(answer.read()) if answer.status == 200 else f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                answers.append(error)
            finally:
                connection.close()

    with start(*words, "--", *PYTHON, WEB, "{port}", env=env) as process:
        assert process.stderr is not None
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
        reader.start()
        assert until(lambda: any(b"running" in line for line in said)), said
        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        try:
            for restart in (1, 2):
                assert until(lambda: len(set(answers)) == restart, 20), answers  # noqa: B023 - asked at once
                process.send_signal(signal.SIGHUP)
                assert until(lambda: sum(b"new instance" in line for line in said) == restart, 30), said  # noqa: B023
            assert until(lambda: len(set(answers)) == 3, 20), answers
        finally:
            over.set()
            for asker in askers:
                asker.join()
        process.terminate()
        process.wait(20)
        reader.join()
    assert [answer for answer in answers if not isinstance(answer, int)] == []
    assert len(set(answers)) == 3


def test_the_history_of_starts_is_kept_for_the_next_guard(tmp_path: Path) -> None:
    history = tmp_path / "starts" / "app"
    for _ in range(2):
        guard(
            "--history", str(history), "--ready", "line:up", "--", *PYTHON, "import time; print('up'); time.sleep(.5)"
        )
    assert len(history.read_text().split()) == 2


def test_a_killed_guard_leaves_no_process_of_a_fronted_pair() -> None:
    address = f"127.0.0.1:{free_port()}"
    words = ["--front", address, "--standby", "--ready", "http://127.0.0.1:{port}/", "--status", "127.0.0.1:0"]
    with start(*words, "--", *PYTHON, "print(__import__('os').getpid(), flush=True)\n" + WEB, "{port}") as process:
        assert process.stdout is not None
        pids = [int(process.stdout.readline()), int(process.stdout.readline())]
        assert all(map(runs, pids))
        process.kill()
        process.wait()
        assert until(lambda: not any(map(runs, pids)))
