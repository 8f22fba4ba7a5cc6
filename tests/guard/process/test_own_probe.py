"""An app is ready when its own processes hold the port, and not when another program answers there."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.guard.kernel.ports import Holder, port_of_others
from preheat.guard.model.app import App
from preheat.guard.net.network_namespace import why_not
from preheat.guard.process.own_probe import own_probe
from preheat.guard.process.process import Process
from tests.guard.apps import free_port, until

SERVER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


# Its first thread ends, and the others go on: as a process looks while the kernel ends one thread after the other.
HALF_ENDED = """
import ctypes, http.server, sys, threading
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(tmp_path: Path, port: int) -> str:
    """The command of a server, as a shell reads it."""
    (tmp_path / "server.py").write_text(SERVER)
    return f"'{sys.executable}' '{tmp_path}/server.py' {port} 2>/dev/null"


@pytest.fixture
def other(server: str, port: int) -> Iterator[None]:
    """Another program that answers at the port."""
    with subprocess.Popen(f"exec {server}", shell=True) as running:
        _until_open(port)
        yield
        running.kill()


def _until_open(port: int) -> None:
    while True:
        with socket.socket() as line:
            if not line.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("text", ["http://127.0.0.1:{}/", "tcp:{}"])
def test_the_page_of_another_program_is_not_the_apps(text: str, port: int) -> None:
    process = Process(App(("sleep", "60")))
    others: list[Holder] = []
    try:
        probe = own_probe(text.format(port), process, others.append)
        assert not probe.ready()
        assert not probe.ready()
        assert [(one.port, one.name.startswith("python")) for one in others] == [(port, True)]
    finally:
        process.stop(0.0)


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "available")
def test_an_isolated_app_is_ready_only_at_the_port_that_the_guard_publishes(server: str, port: int) -> None:
    """Another program has the port while the app loads, and gives it up later."""
    with subprocess.Popen(f"exec {server}", shell=True) as running:
        _until_open(port)
        script = f"exec {server}"
        process = Process(App(("sh", "-c", script), ready=f"http://127.0.0.1:{port}/", isolated=True))
        others: list[Holder] = []
        try:
            probe = own_probe(f"http://127.0.0.1:{port}/", process, others.append)
            assert not probe.ready()
            assert [one.pid for one in others] == [running.pid]
            running.kill()
            running.wait()
            # The guard's port accepts connections before the app inside listens.
            assert until(probe.ready)
        finally:
            running.kill()
            process.stop(0.0)


def test_a_program_that_takes_the_port_before_a_restart_is_not_the_app(server: str, port: int) -> None:
    first = Process(App(("sh", "-c", f"exec {server}")))
    try:
        _until_open(port)
        assert own_probe(f"tcp:{port}", first).ready()
    finally:
        first.stop(0.0)
    with subprocess.Popen(f"exec {server}", shell=True) as other:
        _until_open(port)
        again, others = Process(App(("sleep", "60"))), list[Holder]()
        try:
            assert not own_probe(f"tcp:{port}", again, others.append).ready()
            assert [one.pid for one in others] == [other.pid]
        finally:
            other.kill()
            again.stop(0.0)


@pytest.mark.parametrize(
    "script", ["exec {}", "{} & wait", "setsid sh -c '{} &'; sleep 60"], ids=["itself", "a child", "a daemon"]
)
def test_a_page_of_the_apps_own_processes_is_its_page(script: str, server: str, port: int) -> None:
    process = Process(App(("sh", "-c", script.format(server.replace("'", '"') if "'" in script else server))))
    others: list[Holder] = []
    try:
        _until_open(port)
        assert own_probe(f"http://127.0.0.1:{port}/", process, others.append).ready()
        assert others == []
    finally:
        process.stop(0.0)


@pytest.mark.parametrize("around", ["exec {}", "{} & wait"], ids=["itself", "a child"])
def test_an_app_that_ends_is_not_taken_for_another_program(around: str, tmp_path: Path, port: int) -> None:
    (tmp_path / "half.py").write_text(HALF_ENDED)
    server = f"'{sys.executable}' '{tmp_path}/half.py' {port} 2>/dev/null"
    others: list[Holder] = []
    process = Process(App(("sh", "-c", around.format(server))))
    try:
        _until_open(port)
        assert until(lambda: port_of_others(port, process.pids()) == Holder(port, 0, ""))
        probe = own_probe(f"http://127.0.0.1:{port}/", process, others.append)
        assert not probe.ready()  # it may be about to end: the next look, 0.1 s later, finds out
        assert others == []
    finally:
        process.stop(0.0)


@pytest.mark.usefixtures("other")
def test_an_app_that_is_being_stopped_is_not_accused_of_anything(port: int) -> None:
    process, others = Process(App(("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"))), list[Holder]()
    probe, hurry = own_probe(f"http://127.0.0.1:{port}/", process, others.append), threading.Event()
    stopper = threading.Thread(target=process.stop, args=(60.0, hurry.is_set))
    stopper.start()
    try:
        assert until(lambda: process.stopping)
        assert not probe.ready()
        assert others == []
    finally:
        hurry.set()
        stopper.join()
