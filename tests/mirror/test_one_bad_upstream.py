"""One bad upstream of several: whatever it responds, the next one is tried, and the client gets the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.hostile import FAULTS, HOSTILE, answering
from tests.mirror.rooms import Room

Rooms = Callable[..., Room]


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_next_upstream_is_tried(kind: str, rooms: Rooms, hub: FlakyHub) -> None:
    with answering(HOSTILE[kind]) as bad:
        told = rooms(bad, hub.url).ask("/acme/tiny/resolve/main/config.json")
        assert (told.status, told.whole) == (200, True)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_upstream_alone_gives_an_error_response_of_the_mirror(kind: str, rooms: Rooms) -> None:
    with answering(HOSTILE[kind]) as bad:
        told = rooms(bad).ask("/acme/tiny/resolve/main/config.json")
        assert told.status in (401, 403, 404, 502, 503, 504)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_file_corrupted_by_one_upstream_comes_from_the_next(
    kind: str, rooms: Rooms, hub: FlakyHub, model: Path
) -> None:
    with FlakyHub({"acme/tiny": model}) as twin:
        hub.fails(WEIGHTS, FAULTS[kind])
        told = rooms(hub.url, twin.url).ask("/acme/tiny/resolve/main/model.safetensors")
        assert (told.status, told.whole) == (200, True)
