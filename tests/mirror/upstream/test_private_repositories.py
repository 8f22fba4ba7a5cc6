"""The mirror serves no client anything that its own token could not open upstream."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.upstream.pull_through import Remembering
from tests.flaky_hub import Fault, FlakyHub, refuses, says
from tests.mirror.rooms import Room

FILE = "/acme/tiny/resolve/main/config.json"
INFO = "/api/models/acme/tiny"
ALICE, BOB, EVE = "hf_alice_0123456789", "hf_bob_0123456789", "hf_eve_0123456789"


def private(request: Request, full: Answer) -> Answer:
    """Hide a repository, as the hub does: it does not exist for others."""
    if request.headers.get("authorization") in (f"Bearer {ALICE}", f"Bearer {BOB}"):
        return full
    return refuses(401, "Repository not found", "RepoNotFound")(request, full)


def gated(request: Request, full: Answer) -> Answer:
    """List a repository to all clients, and serve its files to those that have accepted the terms."""
    if request.headers.get("authorization") == f"Bearer {ALICE}":
        return full
    return refuses(401, "Access to this model is restricted.", "GatedRepo")(request, full)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


Rooms = Callable[..., Room]


def test_a_private_repository_is_visible_only_to_clients_that_upstream_shows_it(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"acme/tiny", private)
    room = rooms(hub.url)
    assert room.ask(FILE).headers["x-error-code"] == "RepoNotFound"
    assert room.ask(FILE, **bearer(ALICE)).status == 200
    # It is cached now, and still private.
    for target in (FILE, INFO, f"{INFO}/tree/main", f"{INFO}/refs"):
        assert room.ask(target).status == 404
        assert room.ask(target, **bearer(EVE)).status == 404
        assert room.ask(target, **bearer(BOB)).status == 200


def test_a_gated_repository_is_listed_to_all_and_served_to_those_upstream_serves(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"/resolve/", gated)
    room = rooms(hub.url)
    assert room.ask(INFO).status == 200
    for method in ("HEAD", "GET"):
        told = room.ask(FILE, method)
        assert (told.status, told.headers["x-error-code"]) == (401, "GatedRepo")
    assert room.ask(FILE, **bearer(ALICE)).status == 200
    assert room.ask(FILE, **bearer(EVE)).status == 403
    assert room.ask(FILE).status == 401
    assert room.ask(FILE, **bearer(ALICE), range="bytes=0-3").status == 206


@pytest.mark.parametrize("kind", ["datasets", "spaces"])
def test_a_gated_dataset_or_space_is_refused_as_the_hub_does(rooms: Rooms, model: Path, kind: str) -> None:
    with FlakyHub({f"{kind}/acme/tiny": model}) as hub:
        hub.fails(r"/resolve/", gated)
        room = rooms(hub.url)
        refusals = [room.ask(f"/{kind}{FILE}"), room.ask(f"/{kind}{FILE}", **bearer(EVE))]
        assert [(told.status, told.headers["x-error-code"]) for told in refusals] == [
            (401, "GatedRepo"),
            (403, "GatedRepo"),
        ]
        assert room.ask(f"/{kind}{FILE}", **bearer(ALICE)).status == 200


def test_an_empty_file_proves_no_access(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"/resolve/", gated)
    room = rooms(hub.url)
    assert room.ask("/acme/tiny/resolve/main/empty.txt").status == 401
    assert room.ask(FILE).status == 401


def test_a_token_is_sent_only_to_upstreams_that_accept_it(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    assert room.ask(FILE, **bearer(ALICE)).status == 200
    assert [request for request in hub.asked() if "authorization" in request.headers] == []


def test_a_token_is_checked_once_in_a_while_and_never_stored(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"acme/tiny", private)
    room = rooms(hub.url)
    for _ in range(5):
        assert room.ask(FILE, **bearer(ALICE)).status == 200
    assert len([request for request in hub.asked(r"config\.json$") if "authorization" in request.headers]) <= 2
    for path in (room.library.root).rglob("*"):
        assert ALICE not in path.name
        assert not path.is_file() or ALICE.encode() not in path.read_bytes()
    assert ALICE not in repr(room.events)


def test_a_private_repository_stays_closed_when_upstream_is_down(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"acme/tiny", private)
    first = rooms(hub.url, remembering=Remembering(0.0, 0.0, 0.0))
    assert first.ask(FILE, **bearer(ALICE)).status == 200
    hub.__exit__()
    assert first.ask(FILE, **bearer(ALICE)).status == 200
    assert "x-preheat-stale" in first.ask(FILE, **bearer(ALICE)).headers
    assert first.ask(FILE).status == 503
    assert first.ask(FILE, **bearer(BOB)).status == 503
    # The ledger recognizes the token, but does not contain it.
    second = rooms(hub.url)
    assert second.ask(FILE, **bearer(ALICE)).status == 200
    assert second.ask(FILE).status == 503
    assert second.ask(FILE, **bearer(BOB)).status == 503


def test_a_mirror_without_upstream_serves_a_gated_file_only_to_the_token_that_opened_it(
    rooms: Rooms, hub: FlakyHub
) -> None:
    hub.fails(r"/resolve/", gated)
    rooms(hub.url).ask(FILE, **bearer(ALICE))
    alone = rooms()
    for target in (FILE, INFO):
        assert alone.ask(target).status == 401
        assert alone.ask(target, **bearer(BOB)).status == 403
        assert alone.ask(target, **bearer(ALICE)).status == 200


def test_a_token_that_upstream_rejects_later_is_rejected_after_a_restart_too(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"/resolve/", gated)
    first = rooms(hub.url, remembering=Remembering(0.0, 0.0, 0.0))
    assert first.ask(FILE, **bearer(ALICE)).status == 200
    hub.recovers()
    hub.fails(r"/resolve/", refuses(403, "gone"))
    assert first.ask(FILE, **bearer(ALICE)).status == 403
    assert rooms().ask(FILE, **bearer(ALICE)).status == 403


def test_a_repository_that_becomes_private_is_closed_within_a_while(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url, remembering=Remembering(0.0, 0.2, 0.0))
    assert room.ask(FILE).status == 200
    hub.fails(r"acme/tiny", private)
    time.sleep(0.3)
    assert room.ask(FILE).status == 404
    assert room.ask(FILE, **bearer(ALICE)).status == 200


@pytest.mark.parametrize("how", [private, gated])
def test_a_private_repository_stays_private_while_upstream_is_down(rooms: Rooms, hub: FlakyHub, how: Fault) -> None:
    room = rooms(hub.url, remembering=Remembering(0.0, 0.2, 0.0))
    assert room.ask(FILE).status == 200
    hub.fails(r"acme/tiny", how)
    time.sleep(0.3)
    assert room.ask(FILE).status in (401, 404)
    hub.recovers()
    hub.fails("", refuses(503, "down"))
    assert room.ask(FILE).status not in (200, 206)
    hub.recovers()
    time.sleep(0.3)
    assert room.ask(FILE).status == 200


def test_models_that_were_in_the_library_before_are_public(rooms: Rooms, hub: FlakyHub, model: Path) -> None:
    own = rooms(hub.url)
    own.pull("acme/tiny", hub.url)
    hub.recovers()
    hub.fails(r"acme/tiny", private)
    room = rooms(hub.url)
    assert room.ask(FILE).status == 200
    hub.recovers()
    hub.fails(r"/resolve/", gated)
    assert rooms(hub.url).ask(FILE).status == 200


def test_the_page_does_not_name_private_repositories(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"acme/tiny", private)
    room = rooms(hub.url)
    assert room.ask(FILE, **bearer(ALICE)).status == 200
    standing = json.loads(room.ask("/status.json").body)
    assert not re.search("acme", json.dumps(standing["library"]["models"]))


def test_a_listing_with_another_size_for_a_cached_file_is_rejected(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url, remembering=Remembering(0.0, 0.0, 0.0))
    weights = "/acme/tiny/resolve/main/model.safetensors"
    assert room.ask(weights).status == 200
    hub.fails(r"blobs=true", says('"size":9000000', '"size":10'))
    assert room.ask(weights).status == 502


def test_a_denial_with_a_short_body_is_a_denial(rooms: Rooms, hub: FlakyHub) -> None:
    def denied(request: Request, full: Answer) -> Answer:
        if request.headers.get("authorization") == f"Bearer {ALICE}":
            return full
        return Answer(403, {"Content-Length": "0"})

    hub.fails(r"/resolve/", denied)
    room = rooms(hub.url)
    assert room.ask(FILE).status == 401
    assert room.ask(FILE, **bearer(ALICE)).status == 200
    assert room.ask(FILE).status == 401
    assert room.ask(FILE, **bearer(EVE)).status == 403


def test_a_short_denial_does_not_close_a_public_repository(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url, remembering=Remembering(60.0, 0.0, 0.0))
    assert room.ask(FILE).status == 200
    hub.fails(r"/resolve/", lambda request, full: Answer(403, {"Content-Length": "0"}))
    assert room.ask(FILE).status == 401
