"""Shared by tests of a mirror: mirrors on one library, started one after the other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mirror.rooms import Room


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Callable[..., Room]]:
    """Return a function that starts a mirror on one library, with `upstreams` and a Room's options."""
    opened: list[Room] = []

    def room(*upstreams: str, **options: object) -> Room:
        one = Room(tmp_path / "library", *upstreams, **options)  # type: ignore[arg-type]
        opened.append(one)
        return one.open()

    yield room
    for one in opened:
        one.server.stop(0.2)
