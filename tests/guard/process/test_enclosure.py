"""An app cannot leave processes behind or leave its network, even on purpose, where the kernel can prevent it."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.guard.kernel import cgroup, process_tree
from preheat.guard.model.app import App
from preheat.guard.net.network_namespace import why_not
from preheat.guard.process.enclosure import Enclosure, weakness
from preheat.guard.process.process import Process
from tests.guard.apps import SILENT, SRC, until

# Each process lives for a moment, leaves its session, forks the next and ends. All of them share the lock on `held`.
CHAIN = r"""
import fcntl, os, signal, time
held = open("held", "w")
fcntl.flock(held, fcntl.LOCK_EX)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
if os.fork() == 0:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if os.fork(): os._exit(0)
        os.setsid()
    os._exit(0)
time.sleep(60)
"""
# A detached grandchild kills the app's parent, and lives on.
KILLER = r"""
import fcntl, os, signal, time
held = open("held", "w")
fcntl.flock(held, fcntl.LOCK_EX)
warden = os.getppid()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (1, 15): signal.signal(number, signal.SIG_IGN)
        os.kill(warden, signal.SIGKILL)
        print("shot", flush=True)
        time.sleep(60)
    os._exit(0)
time.sleep(60)
"""
# The ways in which an isolated app can try to escape; it prints a line for each that worked.
BREAKOUT = r"""
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what, how):
    try: how()
    except OSError: return
    print(what, flush=True)
def connect(): socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2).close()
def joined(pid):
    if libc.setns(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY), 0): raise OSError
    connect()
def uncovered(path, then):
    libc.umount2(path.encode(), 2)
    then()
def asked():
    with socket.socket(socket.AF_UNIX) as client: client.connect(sys.argv[2])
def signalled(): os.kill(int(sys.argv[3]), 0)
attempt("connected", connect)
for pid in filter(str.isdigit, os.listdir("/proc")): attempt(f"joined {pid}", lambda: joined(pid))
attempt("joined below /proc", lambda: uncovered("/proc", lambda: joined(sys.argv[3])))
attempt("asked", asked)
attempt("asked below the cover", lambda: uncovered(sys.argv[2], asked))
attempt("signalled", signalled)
for place in {line.split()[4] for line in open("/proc/self/mountinfo") if " - cgroup" in line}:
    attempt(f"made a cgroup in {place}", lambda: os.mkdir(place + "/preheat-escape"))
attempt("core", lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)))
print("tried all", os.getuid(), os.access(sys.argv[4], os.R_OK), flush=True)
"""
needs_isolation = pytest.mark.skipif(bool(why_not()), reason=why_not())


def app(code: str, kind: str, *words: str, cwd: Path | None = None) -> App:
    """An app in this kind of enclosure; skip the test if the system does not permit it."""
    command = (sys.executable, "-I", "-S", "-u", "-c", code, *words)
    made = App(command, cwd=str(cwd) if cwd else None, contained=kind == "cgroup", isolated=kind == "namespaces")
    enclosure = Enclosure.of(made) if kind != "none" and not (made.isolated and why_not()) else Enclosure()
    enclosure.end()
    permitted = {"cgroup": bool(enclosure.cgroup), "namespaces": enclosure.own_pids, "none": True}
    if not permitted[kind]:
        pytest.skip(f"{kind} not permitted here")
    return made


def gone(held: Path) -> Callable[[], bool]:
    """Return whether no process holds the lock any more."""

    def is_gone() -> bool:
        with held.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    return is_gone


@pytest.mark.parametrize("kind", ["cgroup", "namespaces", "none"])
def test_a_stop_ends_processes_that_fork_faster_than_they_are_listed(tmp_path: Path, kind: str) -> None:
    process = Process(app(CHAIN, kind, cwd=tmp_path), output=SILENT)
    assert until(process.tail.lines)
    process.stop(0.1, hurry=lambda: True)
    assert until(gone(tmp_path / "held"))


@pytest.mark.parametrize("kind", ["cgroup", "namespaces"])
def test_a_detached_process_that_kills_the_warden_is_ended_too(tmp_path: Path, kind: str) -> None:
    process = Process(app(KILLER, kind, cwd=tmp_path), output=SILENT)
    assert until(process.tail.lines)
    process.stop(0.1, hurry=lambda: True)
    assert until(gone(tmp_path / "held"))


@pytest.mark.parametrize("kind", ["cgroup", "namespaces", "none"])
def test_killing_the_guard_ends_such_processes_too(tmp_path: Path, kind: str) -> None:
    made = app(CHAIN, kind, cwd=tmp_path)
    code = (
        "import sys, time; from preheat.guard.model.app import App; from preheat.guard.process.process import Process\n"
        f"Process(App({made.command!r}, cwd={made.cwd!r}, contained={made.contained}, isolated={made.isolated}))\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": SRC}, stdout=-1) as guard:
        assert guard.stdout is not None
        assert guard.stdout.readline() == b"up\n"
        guard.kill()
    assert until(gone(tmp_path / "held"))


def test_a_cgroup_is_removed_with_the_app(tmp_path: Path) -> None:
    process = Process(app("print('up'); import time; time.sleep(60)", "cgroup", cwd=tmp_path), output=SILENT)
    assert until(process.tail.lines)
    folder = Path("/proc", str(process.pid), "cgroup").read_text().rpartition("/preheat-")[2].strip()
    assert folder
    process.stop(1)
    assert process.status == -signal.SIGTERM
    own = cgroup.create()
    cgroup.end(own)
    assert not (Path(own).parent / f"preheat-{folder}").exists()


@needs_isolation
def test_the_pid_of_an_app_in_a_namespace_is_usable_by_the_guard(tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), len(os.listdir(f'/proc/{os.getpid()}/fd'))); time.sleep(60)"
    made = app(code, "namespaces", cwd=tmp_path)
    pids = set()
    for _ in range(2):
        process = Process(made, output=SILENT)
        assert until(process.tail.lines)
        pids.add(process.tail.lines()[0].split()[0])
        assert process.pid in [one.pid for one in process_tree.members()]
        assert Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")[0].decode() == sys.executable
        process.stop(1)
        assert process.status == -signal.SIGTERM
    assert len(pids) == 2, "its PID file of the last start would seem to be of a running process"


@needs_isolation
def test_an_isolated_app_cannot_reach_the_network(tmp_path: Path) -> None:
    listens = tmp_path / "socket"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(listens))
        daemon.listen()
        words = (str(server.getsockname()[1]), str(listens), str(os.getpid()), __file__)
        made = app(BREAKOUT, "namespaces", *words, cwd=tmp_path)
        if not Enclosure.of(made).unprivileged:
            pytest.skip("user namespaces are not permitted")
        process = Process(made, output=SILENT)
        assert process.wait(20)
        process.stop(1)
    assert process.tail.lines() == (f"tried all {os.getuid()} True",)


def test_a_missing_permission_is_reported_in_one_sentence() -> None:
    made = App(("true",), contained=True)
    enclosure = Enclosure.of(made)
    enclosure.end()
    assert bool(weakness(made)) != enclosure.holds
    assert "\n" not in weakness(made)
    assert "warden" in weakness(App(("true",)))
