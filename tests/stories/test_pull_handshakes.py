"""Pull from a hub that redirects to another host: connections are kept, and later ones resume the TLS session."""

import random
from pathlib import Path

import pytest

from tests.command import Preheat
from tests.flaky_hub import WEIGHTS, FlakyHub, redirects_to
from tests.stories.kept import blobs

SIZE, CONNECTIONS = 6_000_000, 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    for number in range(2):
        (folder / f"model-{number}.safetensors").write_bytes(random.Random(number).randbytes(SIZE))
    return folder


def test_parts_share_connections_redirects_and_sessions(preheat: Preheat, folder: Path) -> None:
    with FlakyHub({"acme/far": folder}, 1_500_000) as store, FlakyHub({"acme/far": folder}) as hub:
        hub.fails(WEIGHTS, redirects_to(store.url.replace("127.0.0.1", "localhost")))
        told = preheat("pull", "acme/far", "--endpoint", f"hf={hub.url}", "--connections", f"{CONNECTIONS}")
        assert told.status == 0, told.err
        parts, redirects = len(store.asked(WEIGHTS)), len(hub.asked(WEIGHTS))
        assert {len(one) for one in blobs(preheat.library).values()} == {SIZE}
    assert parts >= 10
    # Each of the first connections to each file may be redirected, until one of them knows where the file is.
    assert redirects <= 2 * CONNECTIONS
    # A connection is kept for the next part; it is closed only when another one takes over the end of its part.
    assert len(store.handshakes) <= CONNECTIONS + parts // 4
    # Connections that begin before the first response has arrived have no session to resume.
    assert store.handshakes.count(False) <= CONNECTIONS
    assert hub.handshakes.count(False) <= 1
