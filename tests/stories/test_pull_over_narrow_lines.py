"""Pull through a bottleneck with a queue: each byte is sent once, however long the queue is."""

import random
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.narrow_line import NarrowLine
from tests.stories.kept import blobs

WASTE = 1.02
# The handshake and the headers of a connection's responses.
A_CONNECTION = 8_000


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("size", "rate", "queue_s", "round_trip_s", "pace"),
    [
        (4_000_000, 1e6, 1.5, 0.02, None),  # 8 Mbit/s with a deep buffer
        (1_500_000, 250e3, 6.0, 0.02, None),  # 2 Mbit/s with a deeper one
        (20_000_000, 6.25e6, 1.5, 0.2, None),  # 50 Mbit/s, far away
        (16_000_000, 6.25e6, 0.1, 0.05, 1_000_000),  # 1 MB/s a connection
    ],
)
def test_each_byte_is_sent_once(
    preheat: Preheat, tmp_path: Path, size: int, rate: float, queue_s: float, round_trip_s: float, pace: int | None
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    body = random.Random(5).randbytes(size)
    (folder / "model.safetensors").write_bytes(body)
    with FlakyHub({"acme/narrow": folder}, pace) as hub, NarrowLine(hub.url, rate, queue_s, round_trip_s) as line:
        told = preheat("pull", "acme/narrow", "--endpoint", f"hf={line.url}")
        assert told.status == 0, told.err
        assert body in blobs(preheat.library).values()
        assert line.sent <= WASTE * size + A_CONNECTION * line.opened
