"""The shim's logs: their lines do not wait for the witness, which answers each write of the size of a DNS query."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from preheat.guard.kernel import seccomp
from preheat.guard.witness.connections import Witness
from preheat.verbs.run import stopwatch
from preheat.verbs.tracing.traced_start import logged

CODE = "import json, csv, calendar; open(__import__('sys').argv[1]).read(); print('done')"


@pytest.mark.skipif(not (can := Witness.available()), reason=can.reason or "available")
@pytest.mark.parametrize("way", [stopwatch, logged])
def test_an_app_whose_witness_never_answers_writes_its_log(
    way: Callable[[Mapping[str, str], Path], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "read").write_text("read")
    notes = tmp_path / "notes"
    notes.mkdir()
    told: list[subprocess.CompletedProcess[str]] = []

    def start() -> None:
        listener = seccomp.filter_this_thread()
        try:
            # With a home, Python asks no name service for it, to which it would connect.
            environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **way({}, notes)}
            command = [sys.executable, "-c", CODE, str(tmp_path / "read")]
            told.append(subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20, check=True))
        finally:
            os.close(listener)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert told[0].stdout == "done\n"
    [log] = notes.iterdir()
    lines = log.read_text().splitlines()
    assert len(lines) > 1
    assert all(lines)
