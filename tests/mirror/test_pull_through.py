"""What a mirror lacks, it fetches while it serves it: once, verified, and for whom upstream would give it."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.flaky_hub import FlakyHub, flips_a_byte_at, hangs_up_after, knows_no_ranges, refuses, says, wants_token

from preheat.events import Event
from preheat.hubs.huggingface import HuggingFace
from preheat.library.library import Library
from preheat.mirror.server import Server
from preheat.mirror.shelf import Shelf
from preheat.mirror.upstream import Upstream
from preheat.transport import Transport, Wires
from preheat.verbs.mirror import mirror

WEIGHTS = "/acme/tiny/resolve/main/model.safetensors"


class Told:
    """An answer, as far as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, whole: bool) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self.whole = whole


def ask(url: str, target: str, method: str = "GET", **headers: str) -> Told:
    """Ask a mirror, and read what comes."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    try:
        body, whole = response.read(), True
    except http.client.IncompleteRead as error:
        body, whole = error.partial, False
    except ConnectionResetError:
        body, whole = b"", False
    connection.close()
    return Told(response.status, dict(response.getheaders()), body, whole=whole)


class Room:
    """A mirror with an empty library, in this process, and whom it asks."""

    def __init__(self, folder: Path, *upstreams: str) -> None:
        self.library = Library(folder)
        self.events: list[Event] = []
        transport = Transport(Wires(connect_s=2.0, read_s=5.0))
        behind = [
            Upstream("hf", url, lambda token, url=url: HuggingFace(url, transport, token))  # type: ignore[misc]
            for url in upstreams
        ]
        self.server: Server = mirror(("127.0.0.1", 0), self.library, Shelf({}), self.events.append, upstreams=behind)
        self.url = self.server.url

    def ask(self, target: str, method: str = "GET", **headers: str) -> Told:
        return ask(self.url, target, method, **headers)


Rooms = Callable[..., Room]


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """Give a function that opens a mirror behind others."""
    opened: list[Room] = []

    def room(*upstreams: str, name: str = "") -> Room:
        one = Room(tmp_path / (name or f"library-{len(opened)}"), *upstreams)
        one.server.start()
        opened.append(one)
        return one

    yield room
    for one in opened:
        one.server.stop(0.2)


def test_what_is_not_here_is_fetched_while_it_is_served_and_then_is_here(
    rooms: Rooms, hub: FlakyHub, model: Path
) -> None:
    room = rooms(hub.url)
    weights = (model / "model.safetensors").read_bytes()
    head = room.ask(WEIGHTS, "HEAD")
    assert (head.status, head.headers["x-linked-size"]) == (200, str(len(weights)))
    assert hub.sent(r"/resolve/") <= 1
    told = room.ask(WEIGHTS)
    assert (told.status, told.body) == (200, weights)
    asked = len(hub.asked(r"/resolve/"))
    assert room.ask(WEIGHTS).body == weights
    assert len(hub.asked(r"/resolve/")) == asked
    hub.__exit__()
    assert room.ask(WEIGHTS).body == weights


def test_fifty_clients_cause_one_fetch(rooms: Rooms, hub: FlakyHub, model: Path) -> None:
    room = rooms(hub.url)
    weights = (model / "model.safetensors").read_bytes()
    with ThreadPoolExecutor(50) as clients:
        told = list(clients.map(lambda _: room.ask(WEIGHTS), range(50)))
    assert all(one.body == weights for one in told)
    assert hub.sent(r"/resolve/") <= len(weights) + 1
