"""A process: started, observed, and ended with its whole group."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from preheat.guard.kernel import process_tree
from preheat.guard.model.app import App
from preheat.guard.model.exit_words import describe_exit, shell_status
from preheat.guard.process.process import CannotStart, Output, Process
from tests.guard.apps import SILENT, SRC, python, runs, until

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)
WITH_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-S", "-c", {code!r}])
print(child.pid)
{then}
"""


def test_reports_its_exit_status() -> None:
    process = Process(python("raise SystemExit(3)"), output=SILENT)
    assert process.wait(10)
    assert (process.alive(), process.status) == (False, 3)
    process.stop()


def test_reports_the_signal_that_ended_it() -> None:
    process = Process(python("import os; os.kill(os.getpid(), 9)"), output=SILENT)
    assert process.wait(10)
    assert process.status == -9
    process.stop()


def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period() -> None:
    process = Process(python(STUBBORN), output=SILENT)
    assert until(process.tail.lines)
    began = time.monotonic()
    process.stop(0.5)
    assert 0.5 <= time.monotonic() - began < 3
    assert process.status == -signal.SIGKILL


def test_hurry_shortens_the_grace_period() -> None:
    process = Process(python(STUBBORN), output=SILENT)
    assert until(process.tail.lines)
    began = time.monotonic()
    process.stop(30, hurry=lambda: time.monotonic() - began > 0.2)
    assert time.monotonic() - began < 5


def test_sigterm_gives_time_to_end_cleanly() -> None:
    code = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); print('up'); time.sleep(60)"
    process = Process(python(code), output=SILENT)
    assert until(process.tail.lines)
    process.stop(10)
    assert process.status == 0


def test_a_grandchild_gets_the_whole_grace_period() -> None:
    slow = "import signal,sys,time\ndef end(*_):\n time.sleep(.3); print('saved'); sys.exit()\n"
    slow += "signal.signal(15, end); print('set', flush=True); time.sleep(60)"
    process = Process(python(WITH_CHILD.format(code=slow, then="time.sleep(60)")), output=SILENT)
    assert until(lambda: "set" in process.tail.lines())
    process.stop(10)
    assert "saved" in process.tail.lines()


@pytest.mark.parametrize("then", ["time.sleep(60)", "sys.exit(1)"])
def test_no_orphan_is_left_in_the_group(then: str) -> None:
    process = Process(python(WITH_CHILD.format(code=STUBBORN, then=then)), output=SILENT)
    assert until(lambda: len(process.tail.lines()) == 2)
    assert len(process_tree.group(process.pid)) >= 1
    process.stop(0.2)
    assert process_tree.group(process.pid) == []


def test_it_leads_its_own_session() -> None:
    process = Process(python("import os; print(os.getsid(0), os.getpgrp())"), output=SILENT)
    process.wait(10)
    process.stop()
    assert process.tail.lines() == (f"{process.pid} {process.pid}",)


def test_its_output_is_copied_byte_for_byte(tmp_path: Path) -> None:
    blob = os.urandom(3_000_000)
    (tmp_path / "blob").write_bytes(blob)
    code = "import sys; b = open('blob', 'rb').read(); sys.stdout.buffer.write(b); sys.stderr.buffer.write(b[::-1])"
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = Process(python(code, cwd=str(tmp_path)), output=Output(out.fileno(), err.fileno()))
        assert process.wait(20)
        process.stop()
    assert (tmp_path / "out").read_bytes() == blob
    assert (tmp_path / "err").read_bytes() == blob[::-1]


def test_a_closed_output_target_does_not_block_the_app() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    process = Process(python("print('x' * 1_000_000); print('end')"), output=Output(writer, None))
    assert process.wait(10)
    process.stop()
    os.close(writer)
    assert process.status == 0
    assert process.tail.lines(1) == ("end",)


def test_a_non_blocking_output_target_gets_everything() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = Process(python("print('x' * 1_000_000)"), output=Output(writer, None))
    got = bytearray()
    while len(got) < 1_000_001:
        got += os.read(reader, 65536)
    process.stop()
    os.close(reader)
    os.close(writer)
    assert bytes(got) == b"x" * 1_000_000 + b"\n"


def test_a_missing_command_cannot_start() -> None:
    with pytest.raises(CannotStart, match=r"^nowhere-to-be-found: there is no such command$") as caught:
        Process(App(("nowhere-to-be-found",)))
    assert caught.value.status == 127


def test_a_file_that_is_no_program_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    with pytest.raises(CannotStart, match=r"it is not executable; to make it so: chmod \+x /") as caught:
        Process(App((str(tmp_path / "text"),)))
    assert caught.value.status == 126


def test_a_missing_working_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"gone is not a folder"):
        Process(python("pass", cwd=str(tmp_path / "gone")))


def test_an_invalid_command_line_is_rejected() -> None:
    with pytest.raises(ValueError, match="null"):
        Process(App(("true", "a\0b")))


def test_the_environment_is_the_given_one() -> None:
    process = Process(App(("/usr/bin/env",), env={"ONLY": "this"}), output=SILENT)
    process.wait(10)
    process.stop()
    assert process.tail.lines() == ("ONLY=this",)


def test_it_outlives_the_thread_that_started_it() -> None:
    processes: list[Process] = []
    thread = threading.Thread(target=lambda: processes.append(Process(python("import time; time.sleep(60)"))))
    thread.start()
    thread.join()
    time.sleep(0.3)
    assert processes[0].alive()
    processes[0].stop(1)


def test_it_is_killed_when_the_guard_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from preheat.guard.model.app import App; from preheat.guard.process.process import Process\n"
        "print(Process(App(('sleep', '60'))).pid, flush=True); time.sleep(60)"
    )
    guard = subprocess.Popen([sys.executable, "-c", code], env={"PYTHONPATH": SRC, **os.environ}, stdout=-1)
    with guard:
        assert guard.stdout is not None
        pid = int(guard.stdout.readline())
        assert runs(pid)
        guard.kill()
    assert until(lambda: not runs(pid))


def test_stopping_twice_is_the_same_as_stopping_once() -> None:
    process = Process(python("import time; time.sleep(60)"), output=SILENT)
    process.stop(1)
    process.stop(1)
    process.signal(signal.SIGTERM)
    assert process.status == -signal.SIGTERM


@pytest.mark.parametrize(
    ("returncode", "words", "status"),
    [
        (0, "ended with status 0", 0),
        (3, "ended with status 3", 3),
        (-9, "killed by SIGKILL (out of memory?)", 137),
        (-15, "killed by SIGTERM", 143),
        (-64, "killed by SIGRTMAX", 192),
        (-99, "killed by signal 99", 227),
    ],
)
def test_an_exit_is_described_in_words_and_as_a_shell_status(returncode: int, words: str, status: int) -> None:
    assert describe_exit(returncode) == words
    assert shell_status(returncode) == status
