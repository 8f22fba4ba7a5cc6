"""A repository whose state cannot be read is private, but only as long as that lasts."""

import os
import resource
import time
from pathlib import Path

from preheat.core.ref import Ref
from preheat.mirror.upstream.visibility import CLOSED, OPEN, Gate

REF = Ref.parse("hf:acme/tiny")


def test_a_state_that_cannot_be_read_is_read_again(tmp_path: Path) -> None:
    Gate(tmp_path).note(REF, OPEN)
    time.sleep(0.15)  # until the file is old enough to be kept in memory
    gate = Gate(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        assert gate.state(REF) == CLOSED
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [gate.state(REF) for _ in range(2)] == [OPEN] * 2


def test_a_state_that_another_process_changed_counts_at_once(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    for state in (OPEN, CLOSED) * 20:
        Gate(tmp_path).note(REF, state)
        assert gate.state(REF) == state
