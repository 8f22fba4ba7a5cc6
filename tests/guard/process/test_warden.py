"""No process is left behind, however the guard ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from preheat.guard.kernel import process_tree
from preheat.guard.process.process import Process
from tests.guard.apps import SILENT, guarding, python, runs, until

# A typical daemon: it forks twice, has its own session, ignores signals, and redirects its output.
DAEMONISING = r"""
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        os.write(1, b"daemon %d\n" % os.getpid())
        for standard in (0, 1, 2): os.dup2(null, standard)
        time.sleep(120)
    os._exit(0)
os.wait()
os.write(1, b"app %d\n" % os.getpid())
time.sleep(120)
"""


def pids(line: str, *more: str) -> dict[str, int]:
    return {words.split()[0]: int(words.split()[1]) for words in (line, *more)}


def killed(guard: "subprocess.Popen[bytes]", *, everyone_who_sounds_like_it: bool) -> None:
    if everyone_who_sounds_like_it:
        words = Path(f"/proc/{guard.pid}/cmdline").read_bytes()
        alike = [m.pid for m in process_tree.members() if Path(f"/proc/{m.pid}/cmdline").read_bytes() == words]
        assert guard.pid in alike
        for pid in alike:
            os.kill(pid, signal.SIGKILL)
    else:
        guard.kill()


def test_killing_the_guard_ends_a_daemonised_grandchild() -> None:
    for everyone in (False, True):
        with guarding(python(DAEMONISING)) as guard:
            assert guard.stdout is not None
            of = pids(guard.stdout.readline().decode(), guard.stdout.readline().decode())
            assert runs(of["app"])
            assert runs(of["daemon"])
            killed(guard, everyone_who_sounds_like_it=everyone)
            guard.wait()
            assert until(lambda: not runs(of["app"]) and not runs(of["daemon"])), of  # noqa: B023 - asked at once


def test_a_stop_ends_a_daemonised_grandchild_too() -> None:
    process = Process(python(DAEMONISING), output=SILENT)
    assert until(lambda: len(process.tail.lines()) == 2)
    of = pids(*process.tail.lines())
    process.stop(0.2)
    assert not runs(of["daemon"])
    assert not runs(of["app"])


def test_an_app_that_forks_and_exits_leaves_no_process_behind() -> None:
    process = Process(python(DAEMONISING.rpartition("time.sleep")[0]), output=SILENT)
    assert until(lambda: any(line.startswith("daemon") for line in process.tail.lines()))
    daemon = next(int(line.split()[1]) for line in process.tail.lines() if line.startswith("daemon"))
    process.stop(0.2)
    assert until(lambda: not runs(daemon))


def test_orphans_are_reaped_while_the_app_runs() -> None:
    code = """
import os, time
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0: time.sleep(0.05)
        os._exit(0)
    os.wait()
print("left")
time.sleep(60)
"""
    process = Process(python(code), output=SILENT)
    assert until(process.tail.lines)
    warden = next(member.parent for member in process_tree.members() if member.pid == process.pid)
    assert until(lambda: [m.pid for m in process_tree.members() if m.parent == warden] == [process.pid])
    process.stop(1)


def test_killing_the_warden_ends_the_app_and_counts_as_its_death() -> None:
    process = Process(python("import time; print('up'); time.sleep(60)"), output=SILENT)
    assert until(process.tail.lines)
    warden = next(member.parent for member in process_tree.members() if member.pid == process.pid)
    os.kill(warden, signal.SIGKILL)
    assert process.wait(10)
    assert process.status == -9
    assert until(lambda: not runs(process.pid))
    process.stop(1)


def test_the_app_inherits_no_descriptor_of_the_guard() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    process = Process(python("import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"), output=SILENT)
    process.wait(10)
    process.stop(1)
    os.close(reader)
    os.close(writer)
    assert process.tail.lines() == ("[0, 1, 2, 3]",)  # 3 is the descriptor of the folder that it lists


def test_signals_that_python_ignores_have_their_default_action_in_the_app() -> None:
    process = Process(python("print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"), output=SILENT)
    process.wait(10)
    process.stop(1)
    ignored = int(process.tail.lines()[0], 16)
    # Python ignores SIGPIPE and SIGXFSZ by itself; other ignored signals would be shown here.
    own = Path("/proc/self/status").read_text().split("SigIgn:")[1].split()[0]
    assert ignored == int(own, 16)


INIT = """
import os, sys, time
from preheat.guard.kernel import process_tree as kin
from preheat.guard.process.pid1 import part
from preheat.guard.process.warden import adopt_orphans
adopt_orphans()
part()
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(0.1)
    os._exit(0)
time.sleep(0.5)
print("zombies", sum(one.state == "Z" for one in kin.members() if one.parent == os.getppid()), flush=True)
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
time.sleep(60)
"""


def test_pid_1_reaps_passes_signals_on_and_exits_as_the_guard_does() -> None:
    src = str(Path(__file__).parents[3] / "src")
    with subprocess.Popen([sys.executable, "-c", INIT], env={"PYTHONPATH": src, **os.environ}, stdout=-1) as init:
        assert init.stdout is not None
        assert init.stdout.readline() == b"zombies 0\n"
        assert init.stdout.readline() == b"ready\n"
        init.terminate()
        assert init.wait(10) == 7
