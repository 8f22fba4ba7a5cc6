"""Pull over TLS, with a rate limit or many interruptions: the bytes are right, and few are sent twice."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.line import Line
from tests.stories.kept import blobs

SIZE = 24_000_000


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    """The only file of a model."""
    folder = tmp_path / "weights"
    folder.mkdir()
    body = random.Random(5).randbytes(SIZE)
    (folder / "model.safetensors").write_bytes(body)
    return body


@pytest.fixture
def line(weights: bytes, tmp_path: Path) -> Iterator[Line]:
    """A relay to a hub that has it."""
    assert weights
    with FlakyHub({"acme/held": tmp_path / "weights"}) as hub, Line(hub.url) as line:
        yield line


@pytest.mark.timeout(120)
def test_a_rate_limited_pull_over_tls_is_right(preheat: Preheat, line: Line, weights: bytes) -> None:
    words = ("pull", "acme/held", "--endpoint", f"hf={line.url}", "--limit-rate", "4M")
    told = preheat(*words)
    assert told.status == 0, told.err
    assert weights in blobs(preheat.library).values()
    assert line.sent < 1.1 * SIZE


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("turn", range(4))
def test_a_pull_at_a_megabyte_per_second_over_tls_is_right(
    preheat: Preheat, line: Line, weights: bytes, turn: int
) -> None:
    running = preheat.start("pull", "acme/held", "--endpoint", f"hf={line.url}", "--limit-rate", "1M")
    assert running.process.wait(120) == 0, f"{turn}: {running.err}"
    assert weights in blobs(preheat.library).values()
    assert line.sent < 1.1 * SIZE


def interrupted(preheat: Preheat, line: Line, times: int) -> None:
    """Pull, and interrupt it this many times at random moments while bytes arrive; then let it end.

    Check that each pull resumes at the bytes that the one before reported.
    """
    chance = random.Random(9)
    words = ("pull", "acme/held", "--json", "--endpoint", f"hf={line.url}", "--limit-rate", "3M")
    left = SIZE
    for _ in range(times):
        running = preheat.start(*words)
        running.until(lambda told: '"progress"' in told.out or told.process.poll() is not None)
        time.sleep(chance.random() * 0.1)
        told = running.kill(signal.SIGINT)
        assert told.status in (0, 130), told.out
        assert "Traceback" not in told.err
        missing = [event["missing"] for event in told.events if event["event"] == "resolved"]
        assert missing[0] <= left, "what had arrived is asked for again"
        left = missing[0] - max((event["done"] for event in told.events if event["event"] == "progress"), default=0)
    told = preheat(*words)
    assert told.status == 0, told.out
    assert "thrown away" not in told.out


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_interruptions_leave_no_wrong_byte(preheat: Preheat, line: Line, weights: bytes) -> None:
    interrupted(preheat, line, 3)
    assert weights in blobs(preheat.library).values()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_interruptions_leave_no_wrong_byte(preheat: Preheat, line: Line, weights: bytes) -> None:
    interrupted(preheat, line, 20)
    assert weights in blobs(preheat.library).values()
    # Each interruption loses only the bytes in the connections' buffers.
    assert line.sent < SIZE + 20 * 4_000_000
