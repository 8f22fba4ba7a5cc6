"""Supervision: whole lives of real apps."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from preheat.guard.model.app import App
from preheat.guard.model.life import RestartPolicy
from preheat.guard.supervise.supervisor import AppStarted, Changed, Event, Outcome, supervise
from preheat.guard.witness.connections import Witness
from tests.guard.apps import SILENT, free_port, guarding, python, runs, until

QUICK = RestartPolicy(ready_within_s=5, stop_within_s=1, max_restarts=2, backoff_s=0.02, jitter=0.0)

# A grandchild in the group that ignores SIGTERM, so that only SIGKILL to the whole group ends it.
FAMILY = """
import subprocess, sys, time
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN); time.sleep(60)"
print("pids", subprocess.Popen([sys.executable, "-I", "-S", "-c", deaf]).pid)
time.sleep(60)
"""


def live(app: App, patience: RestartPolicy = QUICK) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return supervise(app, patience, events.append, output=SILENT), events


def states(events: list[Event]) -> list[str]:
    return [event.life for event in events if isinstance(event, Changed)]


@pytest.mark.parametrize("ready", ["", "line:never"])
def test_an_app_that_exits_with_0_is_not_restarted(ready: str) -> None:
    outcome, events = live(python("print('bye')", ready=ready))
    assert outcome == Outcome(0, fatal=False, reason="ended with status 0", tail=("bye",), starts=1)
    assert states(events)[-1] == "stopped"


def test_a_crash_loop_is_bounded_and_its_last_output_reported() -> None:
    outcome, events = live(python("print('no such model'); raise SystemExit(3)"))
    assert outcome.fatal
    assert (outcome.status, outcome.starts, outcome.tail) == (3, 3, ("no such model",))
    assert outcome.reason == "ended with status 3; started 3 times"
    assert states(events).count("backoff") == 2
    assert [event.start for event in events if isinstance(event, AppStarted)] == [1, 2, 3]


def test_a_crashed_app_is_restarted_and_may_then_exit_with_0(tmp_path: Path) -> None:
    code = "import os, pathlib; p = pathlib.Path('once'); p.exists() or (p.touch(), os.kill(os.getpid(), 11))"
    outcome, events = live(python(code, cwd=str(tmp_path)))
    assert (outcome.status, outcome.fatal, outcome.starts) == (0, False, 2)
    backoff = next(event for event in events if isinstance(event, Changed) and event.life == "backoff")
    assert backoff.detail == "killed by SIGSEGV (it crashed); restarts in 0.02 s"


def test_an_app_killed_by_a_signal_has_the_status_of_a_shell() -> None:
    outcome, _ = live(python("import os; os.kill(os.getpid(), 9)"), RestartPolicy(max_restarts=0))
    assert (outcome.status, outcome.fatal, outcome.starts) == (137, False, 1)


def test_an_app_that_never_becomes_ready_is_fatal_with_its_last_output() -> None:
    app = python("import time; print('loading'); time.sleep(60)", ready=f"tcp:{free_port()}")
    outcome, events = live(app, RestartPolicy(ready_within_s=0.5, stop_within_s=1))
    assert outcome.fatal
    assert (outcome.reason, outcome.tail, outcome.starts) == ("not ready within 0.5 s", ("loading",), 1)
    started = next(event for event in events if isinstance(event, AppStarted))
    assert not runs(started.pid)


def test_a_missing_command_is_fatal_at_once() -> None:
    outcome, events = live(App(("nowhere-to-be-found",)))
    assert (outcome.status, outcome.fatal, outcome.starts) == (127, True, 1)
    assert outcome.reason == "nowhere-to-be-found: there is no such command"
    assert states(events) == ["starting", "fatal"]


def test_a_taken_port_is_reported_before_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome, events = live(python("print('never')", ready=f"http://127.0.0.1:{port}/"))
    assert (outcome.fatal, outcome.starts, states(events)) == (True, 0, ["fatal"])
    assert re.fullmatch(rf"port {port} is taken by .* \(pid {os.getpid()}\)", outcome.reason)


def test_an_invalid_probe_is_rejected_before_the_start() -> None:
    with pytest.raises(ValueError, match="is not a probe"):
        live(python("pass", ready="soon"))


def test_ready_is_reported_once_and_a_stop_ends_the_app() -> None:
    events: list[Event] = []
    code = "import time; time.sleep(0.2); print('up'); time.sleep(60)"
    outcome = supervise(
        python(code, ready="line:^up$"), QUICK, events.append, output=SILENT, stop=lambda: "running" in states(events)
    )
    assert (outcome.status, outcome.fatal, outcome.reason) == (143, False, "stopped by SIGTERM")
    assert states(events) == ["starting", "running", "stopped"]
    running = next(event for event in events if isinstance(event, Changed) and event.life == "running")
    assert 0.2 <= running.seconds < 3
    assert running.detail.startswith("ready after ")


def test_children_of_a_crashed_app_are_gone_before_its_next_start() -> None:
    port = free_port()
    code = f"""
import os, socket, time
server = socket.create_server(("127.0.0.1", {port}), reuse_port=False)
server.set_inheritable(True)
if os.fork() == 0: time.sleep(60)
time.sleep(0.1)
os._exit(9)
"""
    outcome, _ = live(python(code))
    assert outcome.tail == ()
    assert (outcome.status, outcome.starts) == (9, 3)


def test_a_witness_observes_every_start() -> None:
    if not (can := Witness.available()):
        pytest.skip(can.reason)
    witness = Witness()
    app = python("import socket; socket.socket().connect_ex(('127.0.0.1', 9)); raise SystemExit(1)")
    outcome = supervise(app, QUICK, lambda _: None, output=SILENT, witness=witness)
    witness.close()
    assert witness.outbound == outcome.starts == 3


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["INT", "TERM", "HUP"],
)
def test_a_signal_to_the_guard_stops_the_whole_group(number: signal.Signals, status: int) -> None:
    with guarding(python(FAMILY, ready="line:pids")) as guard:
        assert guard.stdout is not None
        grandchild = int(guard.stdout.readline().split()[1])
        began = time.monotonic()
        guard.send_signal(number)
        _, told = guard.communicate(timeout=20)
    assert guard.returncode == status, told
    assert time.monotonic() - began < 4
    assert not runs(grandchild)
    assert f"stopped by {number.name}".encode() in told


def test_a_second_signal_ends_the_grace_period() -> None:
    with guarding(python(FAMILY, ready="line:pids")) as guard:
        assert guard.stdout is not None
        guard.stdout.readline()
        began = time.monotonic()
        guard.send_signal(signal.SIGINT)
        time.sleep(0.3)
        guard.send_signal(signal.SIGINT)
        guard.communicate(timeout=20)
    assert guard.returncode == 130
    assert time.monotonic() - began < 1.5


def test_the_apps_own_status_and_output_are_passed_on() -> None:
    with guarding(python("import sys; sys.stdout.buffer.write(bytes(range(256)) * 999); sys.exit(5)")) as guard:
        out, told = guard.communicate(timeout=20)
    assert out == bytes(range(256)) * 999 * 2  # it is started twice
    assert guard.returncode == 5, told


def test_a_failing_listener_leaves_no_app_behind() -> None:
    pids: list[int] = []

    def fail(event: Event) -> None:
        if isinstance(event, AppStarted):
            pids.append(event.pid)
        if isinstance(event, Changed) and event.life == "running":
            raise RuntimeError("the listener's own")

    with pytest.raises(RuntimeError, match="the listener's own"):
        supervise(python("import time; time.sleep(60)"), QUICK, fail, output=SILENT)
    assert until(lambda: not runs(pids[0]))


def test_afterwards_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    live(python("pass"))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
