"""The second run: a restarted mirror without a network gives the same responses as before."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.mirror.upstream import saved_answers
from tests.flaky_hub import FlakyHub, refuses
from tests.mirror.rooms import Room

INFO = "/api/models/acme/tiny"
Rooms = Callable[..., Room]


def take_all(room: Room, kind: str = "models", repo: str = "acme/tiny") -> dict[str, bytes]:
    """Request a whole repository as clients do: first the branch's commit, then each file by the commit."""
    info = json.loads(room.ask(f"/api/{kind}/{repo}/revision/main").body)
    tree = room.ask(f"/api/{kind}/{repo}/tree/{info['sha']}?recursive=true")
    assert tree.status == 200
    prefix = "" if kind == "models" else f"{kind}/"
    files = {}
    for one in info["siblings"]:
        path = one["rfilename"].replace(" ", "%20").replace("#", "%23").replace("&", "%26").replace("ü", "%C3%BC")
        told = room.ask(f"/{prefix}{repo}/resolve/{info['sha']}/{path}")
        assert told.status == 200, path
        files[one["rfilename"]] = told.body
    return files


@pytest.mark.parametrize("again", ["no upstream", "upstream down", "upstream fails", "another program answers"])
@pytest.mark.parametrize(("kind", "repo"), [("models", "acme/tiny"), ("datasets", "acme/rows")])
def test_a_restarted_mirror_serves_main_from_files_requested_by_commit(
    rooms: Rooms, hub: FlakyHub, again: str, kind: str, repo: str
) -> None:
    first = rooms(hub.url)
    files = take_all(first, kind, repo)
    first.server.stop(1)
    match again:
        case "no upstream":
            second = rooms()
        case "upstream down":
            hub.__exit__()
            second = rooms(hub.url)
        case "upstream fails":
            hub.fails("", refuses(502))
            second = rooms(hub.url)
        case _:
            hub.fails("", lambda _request, full: refuses(200)(_request, full))
            second = rooms(hub.url)
    assert take_all(second, kind, repo) == files


def test_files_downloaded_for_another_repository_are_served_after_a_restart_too(rooms: Rooms, hub: FlakyHub) -> None:
    first = rooms(hub.url)
    take_all(first)
    files = take_all(first, "datasets", "acme/rows")
    assert take_all(rooms(), "datasets", "acme/rows") == files


def test_an_empty_file_is_served_after_a_restart(rooms: Rooms, hub: FlakyHub) -> None:
    first = rooms(hub.url)
    first.ask("/acme/tiny/resolve/main/config.json")
    assert first.ask("/acme/tiny/resolve/main/empty.txt", "HEAD").status == 200
    told = rooms().ask("/acme/tiny/resolve/main/empty.txt", "HEAD")
    assert (told.status, told.headers["content-length"]) == (200, "0")


def test_a_branch_resolved_after_its_files_is_known_after_a_restart(rooms: Rooms, hub: FlakyHub) -> None:
    first = rooms(hub.url)
    commit = json.loads(first.ask(INFO).body)["sha"]
    other = rooms(hub.url)
    assert other.ask(f"/acme/tiny/resolve/{commit}/config.json").status == 200
    assert rooms().ask("/acme/tiny/resolve/main/config.json").status == 200


def test_a_listing_is_served_after_a_restart_and_is_not_a_model_of_the_library(rooms: Rooms, hub: FlakyHub) -> None:
    first = rooms(hub.url)
    shown = first.ask(INFO)
    alone = rooms()
    assert alone.ask(INFO).body == shown.body
    assert list(alone.library.snapshots()) == []
    assert alone.ask("/acme/tiny/resolve/main/config.json").status == 404


def test_a_damaged_ledger_is_ignored(rooms: Rooms, hub: FlakyHub) -> None:
    first = rooms(hub.url)
    first.ask(INFO)
    for path in (first.library.root / "mirror" / "told").rglob("*.json"):
        path.write_bytes(b"{")
    assert rooms().ask(INFO).status == 404
    assert rooms(hub.url).ask(INFO).status == 200
    assert rooms().ask(INFO).status == 200


def test_a_repository_unknown_upstream_is_not_found_during_an_outage(rooms: Rooms, hub: FlakyHub) -> None:
    first = rooms(hub.url)
    take_all(first)
    absent = ("/api/models/acme/none", "/acme/none/resolve/main/config.json", f"{INFO}/revision/v9")
    before = [(told.status, told.headers.get("x-error-code")) for told in map(first.ask, absent)]
    assert {status for status, _ in before} == {404}
    hub.fails("", refuses(502))
    again = rooms(hub.url)
    assert [(told.status, told.headers.get("x-error-code")) for told in map(again.ask, absent)] == before
    assert again.ask("/api/models/acme/other").status == 503  # not requested before
    hub.recovers()
    assert rooms(hub.url).ask(f"{INFO}/revision/main").status == 200


@pytest.mark.parametrize("what", ["lists", "absent refs"])
def test_the_ledger_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(saved_answers, "_MOST_ABSENT", 5)
    monkeypatch.setattr(saved_answers, "_MOST_TOLD", 1_000)
    book = saved_answers.Ledger(tmp_path)
    refs = [Ref.parse(f"hf:acme/m{number}") for number in range(20)]
    for ref in refs:
        if what == "lists":
            book.note(Snapshot(ref, "a" * 40, ()))
        else:
            book.note_absent(ref)
    assert sum(path.stat().st_size for path in (tmp_path / "mirror").rglob("*.json")) <= 1_000
    assert sum(map(book.is_absent, refs)) <= 5
    assert book.find(refs[-1]) is not None if what == "lists" else book.is_absent(refs[-1])
