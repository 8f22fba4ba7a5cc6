"""Slow clients, and too many of them, do not block fast ones, nor use up descriptors."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from preheat.guard.net.small_http import HttpReply, listen, serve
from tests.command import Preheat


def ask(port: int, path: str = "/livez") -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        said = b""
        while more := client.recv(65536):
            said += more
        return said[9:12]


@pytest.fixture
def status() -> Iterator[int]:
    listener = listen("127.0.0.1", 0)
    close = serve(listener, lambda _method, _path: HttpReply(200, "text/plain", b"ok"))
    yield listener.getsockname()[1]
    close()


@pytest.mark.parametrize("words", [b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_hundred_slow_clients_do_not_block_a_fast_one(status: int, words: bytes) -> None:
    with ExitStack() as until:
        slow = [until.enter_context(socket.create_connection(("127.0.0.1", status))) for _ in range(100)]
        for _ in range(3):
            for one in slow:
                try:
                    one.send(words)
                except OSError:
                    continue
            assert ask(status) == b"200"


def test_a_whole_request_has_a_deadline(status: int) -> None:
    with socket.create_connection(("127.0.0.1", status), 30) as slow:
        slow.settimeout(0.5)
        ended = False
        for _ in range(60):  # far longer than a request may take, with short pauses only
            try:
                slow.send(b"G")
                ended = slow.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended


RAISED = """
import resource
from preheat.guard.model.app import App
from preheat.guard.net.port_relay import most_relayed
from preheat.guard.process.process import Process
resource.setrlimit(resource.RLIMIT_NOFILE, (300, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
most, limit = most_relayed(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
app = Process(App(("sh", "-c", "ulimit -Sn")))
app.wait(10)
app.stop(1)
print(most, limit)
"""


def test_relayed_connections_leave_descriptors_for_the_guard_and_the_app_keeps_its_limit() -> None:
    done = subprocess.run([sys.executable, "-c", RAISED], stdout=subprocess.PIPE, text=True, check=True)
    own, most, limit = map(int, done.stdout.split())
    assert own == 300, "programs that use select(2) rely on it"
    assert most * 2 < limit
    assert limit > 300


STARVED = """
import os, resource
from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.supervise.supervisor import supervise

taken = []
def starve(event):
    # When the app has crashed, nothing is left to start it with; at the third start there is again.
    if getattr(event, "life", "") == "backoff" and not taken:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        try:
            while True: taken.append(os.dup(0))
        except OSError: pass
    elif getattr(event, "life", "") == "backoff":
        for one in taken: os.close(one)
    if getattr(event, "detail", ""): print(event.detail, flush=True)

outcome = supervise(App(("sh", "-c", "[ -e mark ] || { : > mark; exit 3; }")), RestartPolicy(backoff_s=0.01), starve)
print(outcome.starts, outcome.status)
"""


def test_a_guard_without_free_descriptors_retries(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", STARVED], stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    assert "could not be started: Too many open files" in done.stdout
    assert done.stdout.endswith("3 0\n")


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(happens: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if happens():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


def test_a_front_full_of_idle_connections_rejects_new_ones_and_the_app_stays_ready(
    preheat: Preheat, tmp_path: Path
) -> None:
    (tmp_path / "web.py").write_text(
        "import http.server, os\n"
        "http.server.ThreadingHTTPServer.request_queue_size = 1024\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])),"
        " http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    status, front = _port(), _port()
    words = [
        "run", "--status", f"127.0.0.1:{status}", "--front", f"127.0.0.1:{front}", "--ready",
        "http://127.0.0.1:{port}/", "--max-restarts", "0", "--", sys.executable, "web.py",
    ]  # fmt: skip
    limit = f'ulimit -n 400; exec {Path(sys.executable).with_name("preheat")} "$@"'
    guard = subprocess.Popen(["sh", "-c", limit, "sh", *words], env=preheat.env, cwd=tmp_path)
    try:
        _until(lambda: ask(status, "/readyz") == b"200")
        with ExitStack() as until:
            for _ in range(150):
                until.enter_context(socket.create_connection(("127.0.0.1", front), 10))
            _until(lambda: ask(front, "/") == b"503")
            assert ask(status, "/readyz") == b"200"
            assert ask(status) == b"200"
            assert len(list(Path(f"/proc/{guard.pid}/fd").iterdir())) < 400 - 100
        _until(lambda: ask(front, "/") == b"200")
    finally:
        guard.terminate()
        guard.wait(20)
