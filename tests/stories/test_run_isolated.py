"""Run without a network: the app can connect nowhere, its port is published, and its attempts are reported."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.guard.net.network_namespace import why_not
from preheat.guard.witness.connections import Witness
from tests.command import Preheat, Running
from tests.guard.apps import free_port

needs_isolation = pytest.mark.skipif(bool(why_not()), reason=why_not())
needs_witness = pytest.mark.skipif(not Witness.available(), reason=Witness.available().reason)

# A page that responds whether it could reach a given address.
PAGE = """
import http.server, socket, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = b"reached nobody"
        if self.path == "/try":
            try:
                socket.create_connection(("127.0.0.1", int(sys.argv[2])), 3).close()
                said = b"reached"
            except OSError as error:
                said = repr(error).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *words):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


@pytest.fixture
def somebody() -> Iterator[int]:
    """A port of this machine on which a server listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def started(preheat: Preheat, network: str, other: int, port: int, *words: str) -> Running:
    (preheat.folder / "page.py").write_text(PAGE)
    command = (sys.executable, "-I", "-S", "-u", "page.py", str(port), str(other))
    ready = f"http://127.0.0.1:{port}/"
    running = preheat.start("run", "--json", "--network", network, "--ready", ready, *words, "--", *command)
    running.until(lambda running: '"life":"running"' in running.err)
    return running


def ask(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def counted(running: Running) -> dict[str, object]:
    told = running.kill(signal.SIGTERM)
    lines = [json.loads(line) for line in told.err.splitlines() if line.startswith('{"event":"network-seen"')]
    assert lines, told.err
    seen: dict[str, object] = lines[-1]
    return seen


@needs_isolation
def test_an_isolated_app_is_reachable_and_reaches_nothing_unlike_a_free_one(preheat: Preheat, somebody: int) -> None:
    port = free_port()
    control = started(preheat, "watch", somebody, port)
    assert ask(port, "/try") == "reached"
    assert control.kill(signal.SIGTERM).status == 143
    running = started(preheat, "none", somebody, port)
    assert ask(port, "/") == "reached nobody"
    for _ in range(3):
        assert "refused" in ask(port, "/try"), "its 127.0.0.1 is not ours"
    assert running.kill(signal.SIGTERM).status == 143


@needs_isolation
@needs_witness
def test_zero_lookups_are_shown_beside_a_nonzero_count(preheat: Preheat, somebody: int) -> None:
    port = free_port()
    quiet = started(preheat, "none", somebody, port)
    assert counted(quiet)["outbound"] == 0
    trying = started(preheat, "none", somebody, port)
    ask(port, "/try")
    assert counted(trying)["outbound"] == 1, "it failed, and it counts"
    reaching = started(preheat, "watch", somebody, port)
    ask(port, "/try")
    assert counted(reaching)["outbound"] == 1


@needs_isolation
def test_it_is_reachable_behind_a_front_too(preheat: Preheat, somebody: int) -> None:
    (preheat.folder / "page.py").write_text(PAGE)
    port = free_port()
    command = (sys.executable, "-I", "-S", "-u", "page.py", "{port}", str(somebody))
    running = preheat.start(
        "run", "--json", "--network", "none", "--front", f"127.0.0.1:{port}", "--ready", "http://127.0.0.1:{port}/",
        "--", *command,
    )  # fmt: skip
    running.until(lambda running: '"life":"running"' in running.err)
    assert ask(port, "/") == "reached nobody"
    assert running.kill(signal.SIGTERM).status == 143


@needs_isolation
def test_a_crashed_isolated_app_is_restarted_and_leaves_no_process_behind(preheat: Preheat, tmp_path: Path) -> None:
    (tmp_path / "once.py").write_text(
        "import os, sys\nif not os.path.exists('mark'):\n    open('mark', 'w'); sys.exit(3)\nprint('second')\n"
    )
    told = preheat("run", "--network", "none", "--", sys.executable, "-I", "once.py")
    assert told.status == 0, told.err
    assert "second" in told.out


@needs_isolation
def test_an_app_that_reports_a_download_causes_a_notice_and_another_does_not(preheat: Preheat) -> None:
    for words, found in (("Downloading model.bin", True), ("Loading model.bin", False)):
        told = preheat("run", "--network", "none", "--json", "--", sys.executable, "-I", "-c", f"print({words!r})")
        assert told.status == 0, told.err
        assert ('"said":"Downloading model.bin"' in told.err) == found


@needs_isolation
def test_other_users_can_isolate_apps_too_if_the_system_permits_it(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this is tried as root for somebody else, and as somebody else by all the others")
    code = (
        "import ctypes, fcntl, os, socket\n"
        "from preheat.guard.net.network_namespace import enter, why_not\n"
        "'loaded while it can be read'.encode('idna')\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "ctypes.CDLL(None).prctl(4, 1)\n"  # PR_SET_DUMPABLE, as for users that were never root
        "reason = why_not()\n"
        "if reason: raise SystemExit('skip: ' + reason)\n"
        "enter(); assert os.geteuid() == 65534\n"
        "with socket.create_server(('127.0.0.1', 0)) as s: socket.create_connection(s.getsockname()).close()\n"
        "try: socket.create_connection(('192.0.2.1', 9), 1); raise SystemExit('reached')\n"
        "except OSError as error: assert 'unreachable' in str(error), error\n"
    )
    source = Path(sys.modules["preheat"].__file__ or "").parents[1]
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(source)!r})\n{code}"],
        capture_output=True, text=True, check=False, cwd="/", timeout=30,
    )  # fmt: skip
    if "skip:" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip(done.stderr.strip()[-200:])
    assert done.returncode == 0, done.stderr
