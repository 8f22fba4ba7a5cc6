"""A fetch that no client reads goes on for a grace period, then stops; the next request goes on from there."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.core.events import Received
from preheat.mirror.upstream import fetches
from tests.authority import connect
from tests.flaky_hub import FlakyHub
from tests.guard.apps import until
from tests.mirror.rooms import Room

SIZE = 20_000_000
FILE = "/acme/slow/resolve/main/weights.bin"


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub that sends 1 MB a second on each connection."""
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(range(250)) * (SIZE // 250))
    with FlakyHub({"acme/slow": folder}, pace=1_000_000) as hub:
        yield hub


def leave_early(room: Room) -> None:
    """Ask for the file, read some of it, and leave."""
    connection = connect(room.url)
    connection.request("GET", FILE)
    assert connection.getresponse().read(100_000)
    assert isinstance(connection.sock, socket.socket)
    connection.sock.close()
    connection.close()


def received(room: Room) -> int:
    return sum(event.size for event in room.events if isinstance(event, Received))


def test_an_abandoned_fetch_stops_after_the_grace_period_and_is_resumed(
    slow: FlakyHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetches, "ABANDONED_S", 0.3)
    room = Room(tmp_path / "library", slow.url).open()
    try:
        leave_early(room)
        assert until(lambda: not room.under_way(), 20)
        assert 0 < received(room) < SIZE
        monkeypatch.undo()
        answer = room.ask(FILE)
        assert answer.whole
        assert len(answer.body) == SIZE
        assert received(room) < SIZE + SIZE // 4  # what came is not asked for again
    finally:
        room.server.stop(0.2)


def test_within_the_grace_period_a_fetch_goes_on_to_its_end(slow: FlakyHub, tmp_path: Path) -> None:
    room = Room(tmp_path / "library", slow.url).open()
    try:
        leave_early(room)
        assert until(lambda: not room.under_way(), 60)
        assert room.server.crowd.busy <= 1
        asked = len(slow.asked(r"weights\.bin$"))
        assert len(room.ask(FILE).body) == SIZE
        assert len(slow.asked(r"weights\.bin$")) == asked
    finally:
        room.server.stop(0.2)
