"""Observer: its measurements of a real process, and its own CPU time."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from preheat.proof.start.folder_growth import FolderGrowth
from preheat.proof.start.observer import ObservedResources, Observer

APP = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
held = bytearray(50_000_000)
for piece in range(10):
    with open(sys.argv[1], "ab") as file:
        file.write(bytes(100_000))
    time.sleep(0.1)
print("done", flush=True)
time.sleep(60)
"""


def test_it_observes_memory_sockets_files_and_their_growth(tmp_path: Path) -> None:
    (tmp_path / "caches").mkdir()
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", APP, str(tmp_path / "caches" / "w.bin")], stdout=subprocess.PIPE
    ) as process:
        try:
            with Observer(
                lambda: process.pid, began, ObservedResources(growth=FolderGrowth([tmp_path / "caches"]))
            ) as gauge:
                assert process.stdout is not None
                assert process.stdout.readline() == b"done\n"
                took = time.monotonic() - began
                seen = gauge.close()
                [span] = gauge.downloading()
        finally:
            process.kill()
    assert seen.rss > 50_000_000
    assert seen.pss > 40_000_000
    assert seen.listening_s is not None
    assert 0 < seen.listening_s < took
    assert 0.4 < span.seconds < took
    assert span.stop < took
    assert any(path.startswith("/") for path in seen.in_use)
    assert seen.video is None


@pytest.mark.slow
def test_it_uses_little_cpu_time(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", APP, str(tmp_path / "w.bin")], stdout=subprocess.DEVNULL) as process:
        try:
            before = time.process_time()
            with Observer(lambda: process.pid, time.monotonic(), ObservedResources(growth=FolderGrowth([tmp_path]))):
                time.sleep(5)
            assert time.process_time() - before < 0.04 * 5
        finally:
            process.kill()
