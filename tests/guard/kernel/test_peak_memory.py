"""The peak memory of real processes."""

import time

from preheat.guard.kernel import process_tree
from preheat.guard.kernel.peak_memory import Peak
from preheat.guard.process.process import Process
from tests.guard.apps import SILENT, python, until

MB = 1_000_000


def test_the_peak_is_the_sum_of_parent_and_child_at_one_time() -> None:
    code = """
import subprocess, sys, time
mine = b"x" * 60_000_000
child = "import time; its = b'x' * 80_000_000; time.sleep(0.6)"
subprocess.run([sys.executable, "-I", "-S", "-c", child])
"""
    process = Process(python(code), output=SILENT)
    with Peak(process.pid) as peak:
        process.wait(20)
    process.stop(1)
    assert 140 * MB < peak.peak_rss < 200 * MB


def test_a_peak_between_two_samples_is_not_missed() -> None:
    code = "import time; x = b'x' * 90_000_000; del x; print('gone'); time.sleep(30)"
    process = Process(python(code), output=SILENT)
    assert until(process.tail.lines)
    peak = Peak(process.pid)
    time.sleep(0.2)
    assert 90 * MB < peak.close() < 140 * MB
    process.stop(1)


def test_a_process_that_has_ended_has_no_peak() -> None:
    process = Process(python("pass"), output=SILENT)
    process.wait(10)
    process.stop(1)
    assert Peak(process.pid).close() == 0


def test_a_family_includes_processes_whose_parent_died() -> None:
    code = """
import os, time
if os.fork() == 0:
    if os.fork() == 0:
        print("orphan", os.getpid())
        time.sleep(30)
    os._exit(0)
os.wait()
time.sleep(30)
"""
    process = Process(python(code), output=SILENT)
    assert until(lambda: len(" ".join(process.tail.lines()).split()) == 2), "unbuffered, its words come one by one"
    orphan = int(process.tail.lines()[0].split()[1])
    assert until(lambda: {process.pid, orphan} == {member.pid for member in process_tree.family(process.pid)})
    process.stop(1)
