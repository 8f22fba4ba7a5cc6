"""Planned restarts and standby instances: whole lives of a real web app behind a front."""

import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.net.port_relay import Front
from preheat.guard.net.small_http import listen, serve
from preheat.guard.status.app_status import AppStatus
from preheat.guard.supervise.instances import StandbyPolicy
from preheat.guard.supervise.supervisor import AppStarted, Event, Notice, Outcome, SupervisorParts, supervise
from tests.guard.apps import SILENT, until

# Loads for a while, then responds with its PID; /slow takes long, /hang blocks its only thread forever.
WEB = """
import http.server, os, sys, time
time.sleep(float(os.environ.get("LOADS_S", "0.2")))
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/die": os._exit(9)
        if self.path == "/hang": time.sleep(600)
        if self.path == "/slow": time.sleep(1)
        body = str(os.getpid()).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
kind = http.server.HTTPServer if os.environ.get("ONE_THREAD") else http.server.ThreadingHTTPServer
kind(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
QUICK = RestartPolicy(ready_within_s=20, stop_within_s=1, max_restarts=3, backoff_s=0.05, ask_every_s=0.2)
ALONE = StandbyPolicy()


@dataclass
class Supervised:
    """A supervision in a thread, and its events."""

    front: Front
    app_status: AppStatus
    events: list[Event] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    outcome: list[Outcome] = field(default_factory=list)

    def get(self, path: str = "/") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.front.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""  # it died while handling this request
        finally:
            connection.close()

    def pid(self) -> int:
        status, body = self.get()
        return int(body) if status == 200 else 0

    @property
    def starts(self) -> list[int]:
        return [event.pid for event in self.events if isinstance(event, AppStarted)]

    def said(self, words: str) -> bool:
        return any(words in event.words for event in self.events if isinstance(event, Notice))


@contextmanager
def but_first(code: str) -> Iterator[None]:
    """Make the web app run some code before it loads."""
    global WEB
    before = WEB
    WEB = code + before
    try:
        yield
    finally:
        WEB = before


@contextmanager
def supervised(
    *, terms: StandbyPolicy = ALONE, patience: RestartPolicy = QUICK, env: dict[str, str] | None = None, alive: str = ""
) -> Iterator[Supervised]:
    app_status = AppStatus("web")
    front = Front("127.0.0.1", 0, app_status.answer_waiting)
    life = Supervised(front, app_status)
    app = App(
        (sys.executable, "-I", "-S", "-c", WEB, "{port}"),
        env={**os.environ, **(env or {})},
        ready="http://127.0.0.1:{port}/",
        alive=alive,
    )
    parts = SupervisorParts(app_status, front, terms)

    def live() -> None:
        outcome = supervise(app, patience, life.events.append, output=SILENT, stop=life.stop.is_set, parts=parts)
        life.outcome.append(outcome)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield life
    finally:
        life.stop.set()
        thread.join()
        front.close()


def test_the_front_answers_503_while_the_app_loads_and_then_relays() -> None:
    with supervised(env={"LOADS_S": "0.6"}) as life:
        status, page = life.get()
        assert status == 503
        assert b"web" in page
        assert until(lambda: life.pid() in life.starts)
        life.get("/slow")
    assert life.outcome[0].reason == "stopped by SIGTERM"


def test_after_a_crash_the_front_answers_until_the_app_is_back() -> None:
    with supervised() as life:
        assert until(life.pid)
        first = life.pid()
        os.kill(first, signal.SIGKILL)
        assert until(lambda: life.get()[0] == 503)
        assert until(lambda: life.pid() not in (0, first))
        assert len(life.starts) == 2


def test_a_standby_takes_over_at_once_after_a_crash() -> None:
    with supervised(terms=StandbyPolicy(standby=True), env={"LOADS_S": "0.4"}) as life:
        assert until(life.pid)
        assert until(lambda: life.app_status.spare)
        first = life.pid()
        os.kill(first, signal.SIGKILL)
        assert until(lambda: life.pid() not in (0, first))
        # The second instance was loaded before; a third now loads as the standby.
        assert life.app_status.life.restarts == 1
        assert "the standby takes over" in str(life.events)
        assert until(lambda: life.app_status.spare)


@pytest.mark.slow
def test_a_hanging_app_is_detected_and_restarted() -> None:
    patience = RestartPolicy(ready_within_s=20, stop_within_s=0.2, backoff_s=0.05, hang_after_s=0.1, ask_every_s=0.2)
    with supervised(patience=patience, env={"ONE_THREAD": "1"}) as life:
        assert until(life.pid)
        first = life.pid()
        connection = http.client.HTTPConnection("127.0.0.1", life.front.port, timeout=60)
        connection.request("GET", "/hang")
        assert until(lambda: "running, but not responding" in str(life.events), 60)
        assert until(lambda: life.pid() not in (0, first), 30)
        connection.close()


def test_a_standby_that_always_dies_is_given_up_and_the_app_stays(tmp_path: Path) -> None:
    # Only at the first start is the file missing.
    once = f"import os\nif os.path.exists({str(tmp_path / 'm')!r}): os._exit(3)\nopen({str(tmp_path / 'm')!r}, 'w')\n"
    patience = RestartPolicy(max_restarts=1, backoff_s=0.01)
    with but_first(once), supervised(terms=StandbyPolicy(standby=True), patience=patience) as life:
        assert until(life.pid)
        first = life.pid()
        assert until(lambda: len(life.starts) == 1 and life.said("no standby"))
        time.sleep(0.3)
        assert life.pid() == first


@pytest.mark.slow
def test_a_standby_that_never_becomes_ready_is_ended(tmp_path: Path) -> None:
    mark = str(tmp_path / "m")
    stuck = f"import os, time\nif os.path.exists({mark!r}): time.sleep(600)\nopen({mark!r}, 'w')\n"
    patience = RestartPolicy(ready_within_s=3, stop_within_s=1, max_restarts=-1, backoff_s=60, ask_every_s=0.2)
    with but_first(stuck), supervised(terms=StandbyPolicy(standby=True), patience=patience) as life:
        assert until(life.pid)
        first = life.pid()
        assert until(lambda: life.said("was not ready within 3 s"), 20)
        assert life.pid() == first


@pytest.mark.slow
def test_the_status_address_is_right_at_every_stage() -> None:
    with supervised(env={"LOADS_S": "0.8"}) as life:
        listener = listen("127.0.0.1", 0)
        serve(listener, life.app_status.answer)

        def ask(path: str, method: str = "GET") -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=10)
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            return answer.status, body

        assert [ask(path)[0] for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 503]
        assert b'"phase": "starting"' in ask("/startupz")[1]
        assert until(life.pid)
        assert [ask(path)[0] for path in ("/livez", "/readyz", "/startupz?x")] == [200, 200, 200]
        os.kill(life.pid(), signal.SIGSTOP)  # neither responds nor exits
        assert until(lambda: ask("/readyz")[0] == 503, 30)
        assert [ask(path)[0] for path in ("/livez", "/startupz")] == [200, 200]
        metrics = ask("/metrics")[1].decode()
        assert "preheat_app_ready 0\n" in metrics
        assert "preheat_app_starts_total 1\n" in metrics
        assert "# TYPE preheat_app_start_seconds gauge\n" in metrics
        assert ask("/nowhere")[0] == 404
        assert ask("/", "POST")[0] == 405
        assert b"<h1>web</h1>" in ask("/")[1]
        os.kill(life.starts[0], signal.SIGCONT)
        listener.close()
