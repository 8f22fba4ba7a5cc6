"""A command that ends with status 0 has launched the app: the processes that it left are the app."""

import os
import signal

import pytest

from preheat.guard.kernel import process_tree
from preheat.guard.model.app import App
from preheat.guard.process.process import Process
from tests.guard.apps import SILENT, python, runs, until

# Leaves a process in its session, one in a session of its own, or one that it forked twice as daemons do.
LAUNCHER = """
import os, sys, time
way, then = {way!r}, {then!r}
if os.fork() == 0:
    if way != "plain": os.setsid()
    if way == "daemon" and os.fork(): os._exit(0)
    time.sleep(0.3)
    os.write(1, b"left %d\\n" % os.getpid())
    exec(then)
    os._exit(0)
sys.exit(0)
"""
WAYS = ("plain", "session", "daemon")


def launched(way: str, then: str, *, contained: bool = False, isolated: bool = False) -> tuple[Process, int]:
    """Start a launcher; return it, and the PID of the process that it has left."""
    app = python(LAUNCHER.format(way=way, then=then))
    process = Process(App(app.command, contained=contained, isolated=isolated), output=SILENT)
    assert until(process.tail.lines)
    inner = int(process.tail.lines()[0].split()[1])
    return process, next((pid for pid in process.pids() if process_tree.inner_pid(pid) == inner), 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("enclosed", ["", "contained", "isolated"])
def test_the_app_lives_on_in_the_processes_that_its_command_left(way: str, enclosed: str) -> None:
    process, left = launched(way, "time.sleep(60)", contained=bool(enclosed), isolated=enclosed == "isolated")
    assert until(lambda: process.left)
    assert process.alive()
    assert process.status is None
    assert process.main == left
    process.stop(2)
    assert not runs(left)
    assert not process.alive()


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_with_the_last_of_them(way: str) -> None:
    process, _ = launched(way, "time.sleep(0.2)")
    assert process.wait(10)
    assert process.status == 0
    process.stop(1)


def test_a_failure_of_one_of_them_is_the_status_of_the_app() -> None:
    process, left = launched("daemon", "os.fork() or time.sleep(0.5); time.sleep(60)")
    os.kill(left, signal.SIGKILL)
    assert until(lambda: process.failure == -signal.SIGKILL)
    assert process.alive()  # its child goes on
    for pid in process.pids():
        os.kill(pid, signal.SIGTERM)
    assert process.wait(10)
    assert process.status == -signal.SIGTERM
    process.stop(1)


def test_a_command_that_fails_is_the_end_of_what_it_left() -> None:
    code = LAUNCHER.format(way="plain", then="time.sleep(60)").replace("sys.exit(0)", "time.sleep(0.6); sys.exit(3)")
    process = Process(python(code), output=SILENT)
    assert process.wait(10)
    assert (process.status, process.left) == (3, False)
    [left] = process.pids()
    process.stop(1)
    assert not runs(left)


def test_an_ended_child_that_nobody_reaped_is_not_left() -> None:
    process = Process(python("import os, time; os.fork() or os._exit(0); time.sleep(0.3)"), output=SILENT)
    assert process.wait(10)
    assert (process.status, process.left) == (0, False)
    process.stop(1)
