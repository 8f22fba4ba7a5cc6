"""Observation of an app ends, whatever other processes do; the tests' own time limit decides."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.guard.kernel import process_tree
from preheat.guard.model.tail import Tail
from preheat.guard.probes import probes
from preheat.guard.probes.probes import parse_probe
from preheat.guard.witness import file_opens
from preheat.guard.witness.file_opens import FANOTIFY, Opens
from preheat.guard.witness.strace import Strace
from tests.guard.apps import until

pytestmark = pytest.mark.timeout(60)

# Opens and closes files as fast as it can, and starts short-lived programs besides.
BUSY = 'while :; do cat "$0" "$0" "$0" "$0" "$0" "$0" >/dev/null; done'


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Path]:
    """A file that three shells read all the time."""
    file = tmp_path / "others.bin"
    file.write_bytes(b"x" * 100)
    shells = [subprocess.Popen(["sh", "-c", BUSY, str(file)], start_new_session=True) for _ in range(3)]
    yield file
    for shell in shells:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def child(tmp_path: Path, pids: list[int]) -> None:
    """Read and write a file in a separate program."""
    (tmp_path / "read.bin").write_bytes(b"x" * 9000)
    script = f"sleep 0.3; exec 5<{tmp_path}/read.bin; : >{tmp_path}/made; sleep 0.5"
    with subprocess.Popen(["sh", "-c", script]) as program:
        pids.append(program.pid)


def test_a_kernel_queue_that_others_fill_is_read_to_its_end(tmp_path: Path, busy: Path) -> None:
    pids: list[int] = []
    watching = Opens([str(tmp_path)], lambda: pids[0] if pids else 0)
    if watching.how != FANOTIFY:
        watching.close()
        pytest.skip("fanotify is not permitted")
    child(tmp_path, pids)
    seen = {(Path(one.path).name, one.wrote) for one in watching.close()}
    assert not watching.lost
    assert ("read.bin", False) in seen
    assert ("made", True) in seen
    assert busy.exists()


def test_a_queue_that_is_too_long_is_abandoned_and_reported(
    tmp_path: Path, busy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_opens, "_DRAIN_S", 0.0)
    pids: list[int] = []
    watching = Opens([str(tmp_path)], lambda: pids[0] if pids else 0)
    if watching.how != FANOTIFY:
        watching.close()
        pytest.skip("fanotify is not permitted")
    child(tmp_path, pids)
    watching.close()
    assert watching.lost
    assert busy.exists()


def test_polling_proc_ends_too(tmp_path: Path, busy: Path) -> None:
    pids: list[int] = []
    watching = Opens([str(tmp_path)], lambda: pids[0] if pids else 0, kernel=False)
    child(tmp_path, pids)
    assert ("read.bin", False) in {(Path(one.path).name, one.wrote) for one in watching.close()}
    assert busy.exists()


@pytest.mark.parametrize("kernel", [False, True])
def test_files_of_a_warden_are_not_the_programs(tmp_path: Path, *, kernel: bool) -> None:
    """It is a fork of the process that started it, with the same files open and mapped."""
    (tmp_path / "own.bin").write_bytes(b"x")
    with open(tmp_path / "own.bin", "rb"):
        watching = Opens([str(tmp_path)], os.getpid, kernel=kernel, beneath=True)
        pids: list[int] = []
        child(tmp_path, pids)
        assert "own.bin" not in {Path(one.path).name for one in watching.close()}


def test_logs_that_a_program_keeps_writing_are_read_up_to_their_length(tmp_path: Path) -> None:
    line = f'1700000000.000000 openat(AT_FDCWD</>, "x", O_RDONLY) = 3<{tmp_path}/x.bin>'
    notes = tmp_path / "calls"
    notes.mkdir()
    writing = subprocess.Popen(["sh", "-c", f"exec >{notes}/calls.1; exec yes '{line}'"], start_new_session=True)
    stopping = threading.Timer(2.0, os.killpg, (writing.pid, signal.SIGSTOP))  # the disk has limited space
    try:
        assert until(lambda: (notes / "calls.1").exists() and (notes / "calls.1").stat().st_size > 1_000_000)
        strace = Strace(str(notes))
        stopping.start()
        assert [one.path for one in strace.close()] == [f"{tmp_path}/x.bin"]
        assert Strace(str(notes)).close(lambda: True) == []
    finally:
        stopping.cancel()
        os.killpg(writing.pid, signal.SIGKILL)
        writing.wait()


def test_a_dripping_page_is_not_ready_and_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_TIMEOUT_S", 0.5)
    over = threading.Event()

    def drip() -> None:
        line, _ = listener.accept()
        with line:
            try:
                line.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not over.wait(0.05):
                    line.sendall(b"x")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        probe = parse_probe(f"http://127.0.0.1:{listener.getsockname()[1]}/", Tail())
        assert not probe.ready()
        over.set()
        thread.join()


def test_a_member_of_a_family_is_known_by_its_parents_and_its_session(tmp_path: Path) -> None:
    # A grandchild in the same session whose parent has ended.
    script = "(sleep 20 >/dev/null & echo $!); sleep 20"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True) as root:
        assert root.stdout is not None
        left = int(root.stdout.readline())
        for pid in (root.pid, left):
            assert process_tree.belongs(pid, root.pid) is True
            assert pid in {member.pid for member in process_tree.family(root.pid)}
        assert process_tree.belongs(os.getpid(), root.pid) is False
        os.killpg(root.pid, signal.SIGKILL)
    assert until(lambda: process_tree.belongs(left, root.pid) is None)
