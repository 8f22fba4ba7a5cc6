"""Pull from a hub that responds late, like a proxy that downloads the file first: no byte is sent twice."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import FlakyHub, answers_after
from tests.line import Line
from tests.stories.kept import blobs

SMALL, LARGE = 13_000_000, 98_000_000
# Headers, TLS, and bytes in flight when a part is moved.
OVERHEAD = 1.1


@pytest.fixture(params=[SMALL])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    """The file of the model, of this many bytes."""
    folder = tmp_path / "weights"
    folder.mkdir()
    body = random.Random(3).randbytes(request.param)
    (folder / "model.safetensors").write_bytes(body)
    return body


@pytest.fixture
def late_hub(weights: bytes, tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub that has it."""
    assert weights
    with FlakyHub({"acme/late": tmp_path / "weights"}) as hub:
        yield hub


def pulls_once(preheat: Preheat, hub: FlakyHub, weights: bytes, opens_after_s: float = 0.0) -> None:
    """Pull through a relay; check that the bytes are right and were sent once."""
    with Line(hub.url, opens_after_s) as line:
        running = preheat.start("pull", "acme/late", "--endpoint", f"hf={line.url}")
        status = running.process.wait(300)
        assert status == 0, running.err
        assert weights in blobs(preheat.library).values()
        assert line.sent <= OVERHEAD * len(weights)


SLOW = (pytest.mark.slow, pytest.mark.timeout(400))


@pytest.mark.parametrize(
    ("weights", "seconds"),
    [
        *((SMALL, seconds) for seconds in (0.0, 3.0)),
        *(pytest.param(size, seconds, marks=SLOW) for size in (SMALL, LARGE) for seconds in (8.0, 30.0)),
    ],
    indirect=["weights"],
)
def test_a_late_first_byte_causes_no_second_transfer(
    preheat: Preheat, late_hub: FlakyHub, weights: bytes, seconds: float
) -> None:
    late_hub.fails("/resolve/", answers_after(seconds))
    pulls_once(preheat, late_hub, weights)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("weights", [SMALL, LARGE], indirect=True)
def test_connections_that_open_late_cause_no_second_transfer(
    preheat: Preheat, late_hub: FlakyHub, weights: bytes
) -> None:
    pulls_once(preheat, late_hub, weights, opens_after_s=5.0)
