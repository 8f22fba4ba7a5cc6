"""Missing files are downloaded while being served: once, verified, and only for clients with access upstream."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.upstream.access_check import SOON_S
from preheat.mirror.upstream.arriving_blob import HELD_BACK
from preheat.net.retry import RetryPolicy
from tests.authority import trust
from tests.flaky_hub import FlakyHub, answers_after, flips_a_byte_at, hangs_up_after, knows_no_ranges, refuses, says
from tests.mirror.rooms import PATIENCE, Room

WEIGHTS = "/acme/tiny/resolve/main/model.safetensors"
BRIEF = replace(PATIENCE, lasting_s=2.0)

Rooms = Callable[..., Room]


@pytest.fixture
def rooms(tmp_path: Path) -> Iterator[Rooms]:
    """Return a function that opens a mirror with upstreams."""
    opened: list[Room] = []

    def room(*upstreams: str, name: str = "", patience: RetryPolicy = PATIENCE) -> Room:
        one = Room(tmp_path / (name or f"library-{len(opened)}"), *upstreams, patience=patience)
        opened.append(one)
        return one.open()

    yield room
    for one in opened:
        one.server.stop(0.2)


def test_a_missing_file_is_downloaded_while_being_served_and_then_cached(
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


def test_fifty_clients_cause_one_download(rooms: Rooms, hub: FlakyHub, model: Path) -> None:
    room = rooms(hub.url)
    weights = (model / "model.safetensors").read_bytes()
    with ThreadPoolExecutor(50) as clients:
        told = list(clients.map(lambda _: room.ask(WEIGHTS), range(50)))
    assert all(one.body == weights for one in told)
    # Hub, mirror and clients share one process here, whose threads wait for each other, and lines that stand still are
    # taken over from. That it is once, tests/stories/test_mirror_under_load.py measures.
    assert hub.sent(r"/resolve/") < 1.5 * len(weights)


# ---- joining, leaving


@pytest.fixture
def paced(model: Path) -> Iterator[FlakyHub]:
    """A distant hub: 300 kB/s for each connection."""
    with FlakyHub({"acme/tiny": model}, pace=300_000) as hub:
        yield hub


def test_a_late_client_joins_the_download_and_a_leaving_one_does_not_stop_it(rooms: Rooms, paced: FlakyHub) -> None:
    room = rooms(paced.url)
    plain = socket.create_connection(("127.0.0.1", int(room.url.rpartition(":")[2])))
    early = trust().wrap_socket(plain, server_hostname="127.0.0.1")
    early.sendall(f"GET {WEIGHTS} HTTP/1.1\r\nHost: mirror\r\n\r\n".encode())
    assert early.recv(1000).startswith(b"HTTP/1.1 200")
    (one,) = room.under_way()
    assert (one["path"], one["size"]) == ("model.safetensors", 9_000_000)
    early.close()
    late = room.ask(WEIGHTS)
    assert (late.status, len(late.body), late.whole) == (200, 9_000_000, True)
    # Once, except for bytes in flight on slow connections whose parts were moved to faster ones.
    assert paced.sent(r"/resolve/") < 1.3 * 9_000_000
    assert room.under_way() == []


def test_a_range_of_a_running_download_is_sent_as_it_arrives_and_is_marked(
    rooms: Rooms, paced: FlakyHub, model: Path
) -> None:
    room = rooms(paced.url)
    weights = (model / "model.safetensors").read_bytes()
    told = room.ask(WEIGHTS, range="bytes=8000000-8000099")
    assert (told.status, told.body) == (206, weights[8_000_000:8_000_100])
    assert "x-preheat-unverified" in told.headers
    whole = room.ask(WEIGHTS)
    assert whole.body == weights
    assert "x-preheat-unverified" not in whole.headers
    assert "x-preheat-unverified" not in room.ask(WEIGHTS, range="bytes=8000000-8000099").headers


def test_the_bytes_that_a_client_waits_for_come_first(rooms: Rooms, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}, pace=400_000) as hub:
        room = rooms(hub.url)
        began = time.monotonic()
        told = room.ask(WEIGHTS, range="bytes=8900000-8900009")
        first = time.monotonic() - began
        assert len(told.body) == 10
        assert first < 4, "in order, it would have come last"


def test_conditional_head_and_invalid_range_requests_download_nothing(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    etag = room.ask(WEIGHTS, "HEAD").headers["etag"]
    assert room.ask(WEIGHTS, if_none_match=etag).status == 304
    assert room.ask(WEIGHTS, range="bytes=9000000-").status == 416
    assert room.ask(WEIGHTS, "HEAD").status == 200
    assert hub.sent(r"/resolve/") <= 1


def test_small_and_empty_files_are_downloaded_too(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    assert room.ask("/acme/tiny/resolve/main/empty.txt").body == b""
    assert room.ask("/acme/tiny/resolve/main/note.txt").body == b"hm!\n"
    assert room.ask("/acme/tiny/resolve/main/voices/m%C3%BCde%20%26%20froh%20%231.txt").body == b"hmm\n"


def test_a_hub_without_ranges_works(rooms: Rooms, hub: FlakyHub, model: Path) -> None:
    hub.fails(r"/resolve/", knows_no_ranges)
    assert rooms(hub.url).ask(WEIGHTS).body == (model / "model.safetensors").read_bytes()


def test_an_outage_midway_aborts_the_response_and_the_download_is_resumed(
    rooms: Rooms, hub: FlakyHub, model: Path
) -> None:
    weights = (model / "model.safetensors").read_bytes()
    hub.fails(r"model\.safetensors$", hangs_up_after(400_000), times=5)
    hub.fails(r"model\.safetensors$", refuses(503))
    first = rooms(hub.url, name="one", patience=BRIEF).ask(WEIGHTS)
    assert not first.whole or first.status == 503
    assert weights.startswith(first.body) or first.status == 503
    brought = hub.sent(r"model\.safetensors$")
    hub.recovers()
    assert rooms(hub.url, name="one").ask(WEIGHTS).body == weights
    assert hub.sent(r"model\.safetensors$") < len(weights) - brought + 1_000_000


# ---- slow upstreams


def test_a_slow_upstream_is_not_waited_for_if_its_last_response_is_saved(rooms: Rooms, hub: FlakyHub) -> None:
    asked, answers = threading.Event(), threading.Event()

    def late(request: Request, full: Answer) -> Answer:
        asked.set()
        answers.wait(60)
        return full

    rooms(hub.url, name="one").ask(WEIGHTS)
    # Restarted, so that only the state on disk is known.
    room = rooms(hub.url, name="one")
    hub.fails("", late)
    head = room.ask(WEIGHTS, "HEAD")
    assert (head.status, head.headers["content-length"]) == (200, "9000000")
    assert room.ask(WEIGHTS).status == 200
    assert asked.is_set()
    answers.set()
    hub.recovers()


@pytest.mark.slow
def test_a_missing_file_waits_for_a_slow_upstream(rooms: Rooms, hub: FlakyHub, model: Path) -> None:
    rooms(hub.url, name="one").ask("/acme/tiny/resolve/main/note.txt")
    room = rooms(hub.url, name="one")
    hub.fails("", answers_after(SOON_S + 1))
    told = room.ask(WEIGHTS)
    assert (told.status, told.body) == (200, (model / "model.safetensors").read_bytes())


# ---- wrong data


def test_bytes_with_a_wrong_digest_are_no_complete_response_and_not_kept(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    hub.fails(r"model\.safetensors$", flips_a_byte_at(5_000_000))
    told = room.ask(WEIGHTS)
    assert told.status in (200, 502)
    assert not told.whole or told.status == 502
    assert len(told.body) <= 9_000_000 - HELD_BACK
    while room.under_way():
        time.sleep(0.01)  # it requests the whole file once more, since the network may have damaged it
    assert list((room.library.root / "blobs").rglob("*")) == []
    hub.recovers()
    assert room.ask(WEIGHTS).whole


def test_a_small_file_with_a_wrong_digest_is_an_error(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"note\.txt$", flips_a_byte_at(0))
    told = rooms(hub.url).ask("/acme/tiny/resolve/main/note.txt")
    assert told.status == 502
    assert b"m!" not in told.body


def test_all_open_responses_are_aborted_when_the_digest_is_wrong(rooms: Rooms, paced: FlakyHub) -> None:
    room = rooms(paced.url)
    paced.fails(r"model\.safetensors$", flips_a_byte_at(8_999_999))
    with ThreadPoolExecutor(8) as clients:
        told = list(clients.map(lambda _: room.ask(WEIGHTS), range(8)))
    assert [one for one in told if one.whole and one.status == 200] == []


def test_another_upstream_repairs_a_file_that_one_corrupts(rooms: Rooms, hub: FlakyHub, model: Path) -> None:
    with FlakyHub({"acme/tiny": model}) as honest:
        room = rooms(hub.url, honest.url)
        hub.fails(r"model\.safetensors$", flips_a_byte_at(5_000_000))
        for _ in range(3):  # a client that received a wrong byte is disconnected, and retries
            told = room.ask(WEIGHTS)
            if told.whole and told.status == 200:
                break
        assert told.body == (model / "model.safetensors").read_bytes()


def test_an_upstream_that_lists_a_wrong_size_is_rejected(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"blobs=true", says('"size":9000000', '"size":9000001'))
    told = rooms(hub.url).ask(WEIGHTS)
    assert not told.whole or told.status == 502


def test_an_upstream_that_lists_paths_outside_is_rejected(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"blobs=true", says('"note.txt"', '"../../note.txt"'))
    assert rooms(hub.url).ask("/acme/tiny/resolve/main/note.txt").status == 502


# ---- outages


def test_while_upstream_is_down_the_last_known_commit_is_served_and_marked(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url, name="one")
    commit = room.ask("/acme/tiny/resolve/main/config.json").headers["x-repo-commit"]
    hub.__exit__()
    later = rooms(hub.url, name="one")
    told = later.ask("/acme/tiny/resolve/main/config.json")
    assert (told.status, told.headers["x-repo-commit"]) == (200, commit)
    assert "x-preheat-stale" in told.headers
    assert "x-preheat-stale" in later.ask("/api/models/acme/tiny").headers
    pinned = later.ask(f"/acme/tiny/resolve/{commit}/config.json")
    assert (pinned.status, "x-preheat-stale" in pinned.headers) == (200, False)
    told = later.ask(WEIGHTS)
    assert told.status == 503
    assert int(told.headers["retry-after"]) > 0
    assert later.ask("/acme/none/resolve/main/config.json").status == 503


def test_a_branch_is_resolved_once_in_a_while(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    with ThreadPoolExecutor(20) as clients:
        told = list(clients.map(lambda _: room.ask("/acme/tiny/resolve/main/config.json", "HEAD").status, range(20)))
    assert told == [200] * 20
    assert len(hub.asked(r"blobs=true")) == 1
    for _ in range(3):
        assert room.ask("/acme/none/resolve/main/config.json", "HEAD").status == 404
    assert len(hub.asked(r"/api/models/acme/none")) == 1


def test_an_unknown_revision_is_distinguished_from_an_unknown_repository(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    assert room.ask("/acme/tiny/resolve/v9/config.json").headers["x-error-code"] == "RevisionNotFound"
    assert room.ask("/acme/none/resolve/main/config.json").headers["x-error-code"] == "RepoNotFound"
    told = room.ask("/acme/tiny/resolve/main/none.json")
    assert told.headers["x-error-code"] == "EntryNotFound"
    assert told.headers["x-repo-commit"]


def test_refs_lists_the_known_branches(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    commit = room.ask("/acme/tiny/resolve/main/config.json").headers["x-repo-commit"]
    room.ask(f"/acme/tiny/resolve/{commit}/config.json")
    branches = json.loads(room.ask("/api/models/acme/tiny/refs").body)["branches"]
    assert branches == [{"name": "main", "ref": "refs/heads/main", "targetCommit": commit}]


# ---- mirrors behind mirrors


def test_mirrors_that_are_each_others_upstream_do_not_loop(hub: FlakyHub, model: Path, tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    urls = [f"https://127.0.0.1:{port}" for port in ports]
    pair = [Room(tmp_path / str(at), urls[1 - at], hub.url, address=("127.0.0.1", ports[at])).open() for at in range(2)]
    try:
        began = time.monotonic()
        assert pair[0].ask("/acme/none/resolve/main/config.json").status == 404
        with ThreadPoolExecutor(2) as clients:
            told = list(clients.map(lambda room: room.ask(WEIGHTS), pair))
        assert [one.body == (model / "model.safetensors").read_bytes() for one in told] == [True, True]
        assert time.monotonic() - began < 10
    finally:
        for room in pair:
            room.server.stop(0.2)


def test_a_mirror_adds_itself_to_via_and_rejects_a_long_via(rooms: Rooms, hub: FlakyHub) -> None:
    room = rooms(hub.url)
    way = ", ".join(f"1.1 preheat-{number:012x}" for number in range(3))
    assert room.ask("/acme/tiny/resolve/main/note.txt", via=f"1.1 squid, {way}").status == 200
    assert {request.headers["via"][: len(way) + 2] for request in hub.asked()} == {f"{way}, "}
    way = ", ".join(f"1.1 preheat-{number:012x}" for number in range(8))
    assert room.ask("/acme/tiny/resolve/main/config.json", via=way).status == 404


@pytest.mark.parametrize("repo", ["solo", "acme/tiny", "datasets/acme/rows", "spaces/acme/demo"])
def test_every_kind_of_repository_is_served(rooms: Rooms, model: Path, repo: str) -> None:
    with FlakyHub({repo: model}) as hub:
        room = rooms(hub.url)
        told = room.ask(f"/{repo}/resolve/main/note.txt")
        assert (told.status, told.body) == (200, b"hm!\n")
        api = repo if repo.startswith(("datasets/", "spaces/")) else f"models/{repo}"
        listed = {entry["path"] for entry in json.loads(room.ask(f"/api/{api}/tree/main?recursive=true").body)}
        assert {"note.txt", "voices/deep/low.bin"} <= listed
        assert b"voices/deep/low.bin" in room.ask(f"/{repo}").body


def test_a_fault_of_one_repository_does_not_affect_others(rooms: Rooms, model: Path) -> None:
    with FlakyHub({"acme/tiny": model, "acme/ill": model}) as hub:
        room = rooms(hub.url)
        hub.fails(r"acme/ill", refuses(500))
        assert room.ask("/acme/ill/resolve/main/note.txt").status == 503
        assert room.ask("/acme/tiny/resolve/main/note.txt").status == 200
        hub.fails(r"acme/other", refuses(429, Retry_After="2"))
        assert room.ask("/acme/other/resolve/main/note.txt").status == 503
        asked = len(hub.asked())
        assert room.ask("/acme/none/resolve/main/note.txt").status == 503
        assert len(hub.asked()) == asked, "it was asked to slow down"


def test_a_file_falsely_listed_as_empty_is_not_served(rooms: Rooms, hub: FlakyHub) -> None:
    hub.fails(r"blobs=true", says('"size":9000000', '"size":0'))
    assert rooms(hub.url).ask(WEIGHTS).status == 502
