"""Several upstreams: each is asked in turn, a client's token goes to the hub alone, none opens another's files."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preheat.hubs.hub import Hub
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.upstream.requester import Asker
from preheat.mirror.upstream.upstream import Upstream, Upstreams
from tests.flaky_hub import FlakyHub, flips_a_byte_at, refuses
from tests.mirror.rooms import Room, ask

ALICE = "hf_alice_0123456789"
OWNER = {"authorization": f"Bearer {ALICE}"}
SECRET = "/acme/secret/resolve/main/weights.bin"
Rooms = Callable[..., Room]


def private(request: Request, full: Answer) -> Answer:
    if request.headers.get("authorization") == f"Bearer {ALICE}":
        return full
    return refuses(401, "Repository not found", "RepoNotFound")(request, full)


def folder(at: Path, content: bytes) -> Path:
    at.mkdir()
    (at / "weights.bin").write_bytes(content)
    return at


@pytest.fixture
def first(tmp_path: Path) -> Iterator[FlakyHub]:
    """Give the hub that a private repository is at."""
    with FlakyHub({"acme/secret": folder(tmp_path / "secret", b"S" * 2_000_000)}) as hub:
        hub.fails(r"acme/secret", private)
        yield hub


def tokens_at(hub: FlakyHub) -> list[str]:
    return [request.headers["authorization"] for request in hub.asked() if "authorization" in request.headers]


def test_a_clients_token_is_never_shown_to_another_upstream(rooms: Rooms, first: FlakyHub, tmp_path: Path) -> None:
    with FlakyHub({"acme/other": folder(tmp_path / "other", b"o" * 2_000_000)}) as second:
        second.fails(r"acme/secret|acme/none", refuses(401))
        room = rooms(first.url, second.url)
        assert room.ask(SECRET, **OWNER).body == b"S" * 2_000_000
        assert room.ask("/acme/none/resolve/main/weights.bin", **OWNER).status == 403
        assert room.ask("/acme/other/resolve/main/weights.bin", **OWNER).status == 200
        assert tokens_at(second) == []
        assert second.asked("secret") == []  # nor is the name of what is private
        first.__exit__()
        assert rooms(first.url, second.url).ask(SECRET, **OWNER).status == 200  # it is here, and was opened to her
        assert tokens_at(second) == []


def test_another_upstream_does_not_say_what_a_private_repository_is(
    rooms: Rooms, first: FlakyHub, tmp_path: Path
) -> None:
    with FlakyHub({"acme/secret": folder(tmp_path / "false", b"E" * 2_000_000)}) as second:
        room = rooms(first.url, second.url)
        assert room.ask(SECRET, **OWNER).body == b"S" * 2_000_000
        assert room.ask(SECRET).body == b"E" * 2_000_000  # what the second has under the name is open to all
        assert room.ask(SECRET, **OWNER).body == b"S" * 2_000_000
        first.__exit__()
        again = rooms(first.url, second.url)
        assert again.ask(SECRET, **OWNER).body in (b"S" * 2_000_000, b"")
        assert b"S" not in again.ask(SECRET).body


def test_a_digest_that_another_upstream_lists_opens_no_private_file(
    rooms: Rooms, first: FlakyHub, tmp_path: Path
) -> None:
    alias = "/evil/alias/resolve/main/weights.bin"
    with FlakyHub({"evil/alias": folder(tmp_path / "alias", b"S" * 2_000_000)}) as second:
        second.fails(r"alias/resolve", flips_a_byte_at(1_900_000))
        room = rooms(first.url, second.url)
        assert room.ask(SECRET, **OWNER).status == 200
        sent = second.sent(r"alias/resolve")
        assert room.ask(alias, "HEAD").status == 200
        assert second.sent(r"alias/resolve") <= sent + 1
        for headers in ({}, {"range": "bytes=0-9"}, {"range": "bytes=-1"}):
            told = room.ask(alias, **headers)
            assert (told.status, b"SSS" in told.body) == (502, False)
        alone = rooms()
        assert alone.ask(alias).status == 404
        assert alone.ask(SECRET, **OWNER).status == 200


def test_an_upstream_that_sends_all_of_a_private_file_has_it(rooms: Rooms, first: FlakyHub, tmp_path: Path) -> None:
    alias = "/fair/alias/resolve/main/weights.bin"
    with FlakyHub({"fair/alias": folder(tmp_path / "alias", b"S" * 2_000_000)}) as second:
        room = rooms(first.url, second.url)
        assert room.ask(SECRET, **OWNER).status == 200
        assert room.ask(alias).body == b"S" * 2_000_000
        sent = second.sent(r"alias/resolve")
        assert room.ask(alias).body == b"S" * 2_000_000
        assert second.sent(r"alias/resolve") == sent
        assert rooms().ask(alias).body == b"S" * 2_000_000
        assert rooms().ask(SECRET).status == 401


def test_what_only_the_second_has_is_open_after_a_restart(rooms: Rooms, first: FlakyHub, tmp_path: Path) -> None:
    other = "/acme/other/resolve/main/weights.bin"
    first.fails(r"acme/other", refuses(401, "Repository not found", "RepoNotFound"))
    with FlakyHub({"acme/other": folder(tmp_path / "other", b"o" * 2_000_000)}) as second:
        for _ in range(2):
            assert rooms(first.url, second.url).ask(other).status == 200
    assert rooms().ask(other).body == b"o" * 2_000_000
    assert ask(rooms(first.url, second.url).url, other).status == 200


def test_the_hub_itself_is_the_origin_of_tokens_wherever_it_is_named() -> None:
    def connect(asker: Asker) -> Hub:
        raise NotImplementedError

    peer, hub, other = (
        Upstream("hf", url, connect)
        for url in ("http://10.0.0.1:8000", "https://huggingface.co", "https://hf-mirror.com")
    )
    behind = Upstreams([peer, hub, other])
    assert behind.origin("hf") is hub
    assert [list(behind.tokens_for(one, ALICE)) for one in (peer, hub, other)] == [[""], ["", ALICE], [""]]
    assert Upstreams([peer, other]).origin("hf") is peer
    assert behind.origin("ms") is None
