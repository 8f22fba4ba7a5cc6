"""Trace comes to an end: on a busy machine, and whenever it is told to; with a recipe of what is known."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.guard.witness.strace import STRACE, Strace
from preheat.verbs.tracing.cancellable_resolve import Asking
from preheat.verbs.tracing.readiness import Wanted
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import free_port
from tests.stories.test_trace import SCRIPT, traced, write_app

__all__ = ["traced"]

pytestmark = pytest.mark.timeout(90)

READS = "open(get('model.safetensors'), 'rb').read(); print('done')"
# Short-lived programs that open files everywhere, like builds and tests on the same machine.
BUSY = "while :; do cat /etc/hostname /etc/passwd /etc/group >/dev/null; /bin/true; done"


@pytest.fixture
def busy() -> Iterator[None]:
    shells = [subprocess.Popen(["sh", "-c", BUSY], start_new_session=True) for _ in range(3)]
    yield
    for shell in shells:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("how", ["fanotify", "strace", "proc"])
def test_trace_ends_while_others_open_files_all_the_time(traced: Preheat, how: str) -> None:
    if how == "fanotify" and os.geteuid() != 0:
        pytest.skip("fanotify wants root")
    if how == STRACE and not Strace.available():
        pytest.skip("strace is not here, or may not trace")
    write_app(traced, READS)
    told = traced("trace", "--opens", how, "--json", "--", *SCRIPT)
    if told.status == 2 and "cannot be seen" in told.out:
        pytest.skip(f"no {how} here")
    assert told.status == 0, told.err
    [need] = told.last["needs"]
    assert [file["path"] for file in need["files"]] == ["model.safetensors"]


def page(port: int) -> str:
    serves = f"http.server.HTTPServer(('127.0.0.1', {port}), http.server.SimpleHTTPRequestHandler).serve_forever()"
    return f"import http.server\n{READS}\n{serves}"


@pytest.mark.slow
@pytest.mark.parametrize("way", ["&", "daemon"])
def test_a_start_script_that_ends_is_traced_and_replayed_in_the_processes_that_it_left(
    traced: Preheat, way: str
) -> None:
    daemon = "import os\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n" if way == "daemon" else ""
    write_app(traced, f"{daemon}import time\ntime.sleep(0.5)\n{page(free_port())}")
    (traced.folder / "start_app.sh").write_text(
        f"#!/bin/bash\n{' '.join(SCRIPT)} {'&' if way == '&' else ''}\nexit 0\n"
    )
    told = traced("trace", "--json", "--", "bash", "start_app.sh")
    assert told.status == 0, told.err
    [need] = told.last["needs"]
    assert [file["path"] for file in need["files"]] == ["model.safetensors"]
    assert "the processes that it left running are observed" in told.out + told.err


@pytest.mark.slow
@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_trace_during_the_first_use_and_the_recipe_is_written(traced: Preheat, number: int) -> None:
    write_app(traced, page(free_port()))
    # The app sees the library as it is, and all else through overlays.
    using = traced.library / "using"
    first = f"exec:sh -c 'touch {using}; exec sleep 600'"
    running = traced.start("trace", "--first", first, "--", *SCRIPT)
    running.until(lambda _: using.exists())
    told = running.kill(number)
    assert told.status == 0, told.err
    assert "model.safetensors" in (traced.folder / "preheat.toml").read_text()
    assert not list(traced.library.glob("trace-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_an_app_that_is_deaf_to_the_first(traced: Preheat, number: int) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    write_app(traced, READS + "\n" + deaf)
    running = traced.start("trace", "--", *SCRIPT)
    running.until(lambda running: "deaf" in running.err)
    running.process.send_signal(number)
    time.sleep(0.5)
    told = running.kill(number)
    assert told.status == 8, told.err
    assert "Ended early" in told.err
    recipe = (traced.folder / "preheat.toml").read_text()
    assert "Ended early" in recipe
    assert 'verified = "no: the trace was ended early"' in recipe
    assert "model.safetensors" in recipe


def test_first_use_that_leaves_a_program_behind_does_not_keep_trace(traced: Preheat) -> None:
    write_app(traced, page(free_port()))
    told = traced("trace", "--settle=0s", "--first", "exec:sh -c 'sleep 75 & exit 0'", "--", *SCRIPT)
    assert told.status == 0, told.err


@pytest.fixture
def silent_hub() -> Iterator[tuple[str, int]]:
    """It accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


@pytest.mark.parametrize("by", ["stopped", "hurried"])
def test_hub_that_says_nothing_is_given_up_when_nobody_waits_any_more(
    silent_hub: tuple[str, int], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preheat.verbs.tracing.cancellable_resolve._MORE_S", 0.2)
    told = threading.Event()
    over: list[bool] = []

    def resolve(ref: Ref) -> Snapshot | None:
        with socket.create_connection(silent_hub) as line:
            line.recv(1)
        over.append(True)
        return None

    asking = Asking(resolve, Wanted(stopped=told.is_set) if by == "stopped" else Wanted(hurried=told.is_set))
    threading.Timer(0.2, told.set).start()
    assert asking(Ref.parse("hf:acme/tiny")) is None
    assert asking.cut_short
    assert asking(Ref.parse("hf:acme/other")) is None
    assert not over


def test_hub_that_answers_is_believed_and_its_errors_are_raised(hub: FlakyHub) -> None:
    def fails(ref: Ref) -> Snapshot | None:
        raise ValueError(str(ref))

    asking = Asking(lambda _: None, Wanted())
    assert asking(Ref.parse("hf:acme/tiny")) is None
    assert not asking.cut_short
    with pytest.raises(ValueError, match="acme/tiny"):
        Asking(fails, Wanted())(Ref.parse("hf:acme/tiny"))
    assert hub.asked() == []
