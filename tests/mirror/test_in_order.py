"""Upstreams in order: files come from the first that works, and from the next one only while it fails."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preheat.hubs.hub import Hub
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.upstream.requester import Asker
from preheat.mirror.upstream.upstream import Upstream, Upstreams
from preheat.net.retry import RetryPolicy
from tests.flaky_hub import WEIGHTS, Fault, FlakyHub, answers_after, flips_a_byte_at, refuses
from tests.line import Line
from tests.mirror.rooms import Room

LARGE, SMALL = "/acme/tiny/resolve/main/model.safetensors", "/acme/tiny/resolve/main/config.json"
OTHER = "/acme/tiny/resolve/main/voices/deep/low.bin"
Rooms = Callable[..., Room]


@pytest.fixture
def twin(model: Path) -> Iterator[FlakyHub]:
    """Another hub with the same files."""
    with FlakyHub({"acme/tiny": model}) as twin:
        yield twin


def test_only_the_first_upstream_is_asked(rooms: Rooms, hub: FlakyHub, twin: FlakyHub, model: Path) -> None:
    room = rooms(hub.url, twin.url, in_order=True)
    assert room.ask(LARGE).body == (model / "model.safetensors").read_bytes()
    assert room.ask(SMALL).status == 200
    assert twin.asked() == []


def test_without_order_both_upstreams_send_bytes(rooms: Rooms, hub: FlakyHub, twin: FlakyHub) -> None:
    assert rooms(hub.url, twin.url).ask(LARGE).status == 200
    assert twin.asked() != []


def test_the_next_upstream_sends_only_the_rest_when_the_first_dies(rooms: Rooms, twin: FlakyHub, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}, pace=250_000) as slow, Line(slow.url) as line:
        room = rooms(line.url, twin.url, in_order=True)
        with room.asking(LARGE) as arriving:
            half = arriving.read(200_000)  # of a file that arrives in many parts at once
            line.cut()
            rest = arriving.read()
        assert half + rest == (model / "model.safetensors").read_bytes()
        assert 0 < twin.sent(WEIGHTS) <= len(rest)
        opened = line.opened
        assert room.ask(OTHER).status == 200
        assert line.opened == opened  # it is remembered that the first one is gone


def test_a_file_comes_from_the_next_upstream_while_the_first_is_away(
    rooms: Rooms, hub: FlakyHub, twin: FlakyHub
) -> None:
    with Line(hub.url) as line:
        line.cut()
        room = rooms(line.url, twin.url, in_order=True)
        assert room.ask(SMALL).status == 200
        line.restore()
        again = rooms(line.url, twin.url, in_order=True)
        twin.recovers()
        assert again.ask(LARGE).status == 200
        assert twin.asked() == []


@pytest.mark.parametrize("fault", [refuses(404), refuses(500), flips_a_byte_at(4_000_000)])
def test_a_file_that_the_first_upstream_cannot_send_comes_from_the_next(
    rooms: Rooms, hub: FlakyHub, twin: FlakyHub, fault: Fault
) -> None:
    hub.fails(WEIGHTS, fault)
    room = rooms(hub.url, twin.url, in_order=True)
    told = room.ask(LARGE)
    # Clients that have read wrong bytes are cut off; the next request gets the right ones.
    again = told if told.whole else room.ask(LARGE)
    assert (again.status, again.whole) == (200, True)


def test_a_slow_upstream_that_answers_is_not_given_up(rooms: Rooms, hub: FlakyHub, twin: FlakyHub) -> None:
    hub.fails(WEIGHTS, answers_after(3.5), times=1)
    assert rooms(hub.url, twin.url, in_order=True).ask(LARGE).status == 200
    assert twin.asked() == []


def test_a_busy_upstream_is_waited_for(rooms: Rooms, hub: FlakyHub, twin: FlakyHub) -> None:
    hub.fails(WEIGHTS, refuses(503, "busy", Retry_After="3"), times=8)
    assert rooms(hub.url, twin.url, in_order=True).ask(LARGE).status == 200
    assert twin.asked() == []


def test_each_failure_makes_the_rest_longer() -> None:
    def connect(asker: Asker) -> Hub:
        raise NotImplementedError

    first, second = (Upstream("hf", f"http://10.0.0.{number}", connect) for number in (1, 2))
    behind = Upstreams([first, second], in_order=True)
    assert behind.in_turn("hf") == [first, second]
    waits = []
    for _ in range(6):
        behind._rest(first)
        waits.append(behind._rests[first.url])
    assert behind.in_turn("hf") == [second, first]
    steps = [round(later - waits[0]) for later in waits]
    assert steps == [0, 5, 15, 35, 55, 55]


def test_private_files_have_no_other_source(rooms: Rooms, hub: FlakyHub, twin: FlakyHub) -> None:
    token = {"authorization": "Bearer hf_alice_0123456789"}
    hub.fails(r"acme/tiny", _private)
    room = rooms(hub.url, twin.url, in_order=True, patience=RetryPolicy(attempts=1, lasting_s=0.5))
    twin.fails(r"acme/tiny", refuses(401))
    assert room.ask(LARGE, **token).status == 200
    asked = len(twin.asked())
    hub.__exit__()
    assert room.ask(OTHER, **token).status == 503
    assert len(twin.asked()) == asked


def _private(request: Request, full: Answer) -> Answer:
    shown = request.headers.get("authorization") == "Bearer hf_alice_0123456789"
    return full if shown else refuses(401, "Repository not found", "RepoNotFound")(request, full)
