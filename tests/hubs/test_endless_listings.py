"""A hub that always lists one more page ends a resolve, after a bounded number of pages."""

import json
from collections.abc import Callable

import pytest

from preheat.core.errors import HubError
from preheat.core.events import Event, Noted
from preheat.core.ref import Ref
from preheat.hubs import listing
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.listing import ListingLimit
from preheat.hubs.modelscope import ModelScope
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from preheat.net.http import NetworkSettings, Transport
from tests.authority import authority, trusting

_COMMIT = "a" * 40


def endless(page: Callable[[int], bytes], asked: list[int]) -> Callable[[Request], Answer]:
    """Respond with a page and a link to the next one."""

    def answer(request: Request) -> Answer:
        if "/tree/" not in request.target:
            body = json.dumps({"sha": _COMMIT, "siblings": [{"rfilename": "m.bin"}]}).encode()
            return Answer(200, {"Content-Length": str(len(body))}, body)
        asked.append(1)
        body = page(len(asked))
        link = f'<{request.target.partition("?")[0]}?cursor={len(asked)}>; rel="next"'
        return Answer(200, {"Content-Length": str(len(body)), "Link": link}, body)

    return answer


def files(number: int) -> bytes:
    rows = [{"type": "file", "path": f"{number}/{at}", "oid": "b" * 40, "size": 5} for at in range(20_000)]
    return json.dumps(rows).encode()


@pytest.mark.parametrize(("page", "most"), [(files, 3), (lambda _number: b"[]", 200)])
def test_an_endless_listing_is_rejected(
    page: Callable[[int], bytes], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_FILES", 50_000)
    monkeypatch.setattr(listing, "MOST_PAGES", 200)
    asked: list[int] = []
    answer = endless(page, asked)
    with Server(("127.0.0.1", 0), answer, lambda _event: None, tls=authority().context) as server:
        hub = HuggingFace(server.url, Transport(trusting(NetworkSettings())))
        with pytest.raises(HubError, match="without end"):
            hub.resolve(Ref.parse("hf:acme/tiny"))
    assert len(asked) <= most


def ms_rows(number: int, *, kind: str) -> bytes:
    rows = [{"Path": f"{number}/{at}", "Type": kind, "Size": 5, "Sha256": "d" * 64} for at in range(3_000)]
    return json.dumps({"Code": 200, "Data": {"Files": rows}}).encode()


@pytest.mark.parametrize(("name", "kind"), [("ms:datasets/acme/rows", "blob"), ("ms:acme/tiny", "tree")])
def test_an_endless_modelscope_listing_is_rejected(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_FILES", 50_000)
    asked: list[int] = []

    def answer(request: Request) -> Answer:
        asked.append(1)
        body = ms_rows(len(asked), kind=kind)
        return Answer(200, {"Content-Length": str(len(body))}, body)

    with Server(("127.0.0.1", 0), answer, lambda _event: None, tls=authority().context) as server:
        hub = ModelScope(server.url, Transport(trusting(NetworkSettings())))
        with pytest.raises(HubError, match=r"without end|more files"):
            hub.resolve(Ref.parse(name))
    assert len(asked) < 40


def test_a_listing_that_takes_too_long_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_S", 0.0)
    with pytest.raises(HubError, match="minutes"):
        ListingLimit(Ref.parse("hf:acme/tiny")).add(1, 1)


def test_a_long_listing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "TELL_EVERY_S", 0.0)
    told: list[Event] = []
    limit = ListingLimit(Ref.parse("hf:acme/tiny"), told.append)
    for _ in range(2):
        limit.add(1_000, 90_000)
    assert told[-1] == Noted("hf:acme/tiny", "the hub has listed 2000 files so far")


def test_a_list_without_the_named_files_is_rejected() -> None:
    def answer(request: Request) -> Answer:
        named = {"sha": _COMMIT, "siblings": [{"rfilename": "m.bin"}]}
        body = json.dumps([] if "/tree/" in request.target else named).encode()
        return Answer(200, {"Content-Length": str(len(body))}, body)

    with Server(("127.0.0.1", 0), answer, lambda _event: None, tls=authority().context) as server:
        hub = HuggingFace(server.url, Transport(trusting(NetworkSettings())))
        with pytest.raises(HubError, match="lists none"):
            hub.resolve(Ref.parse("hf:acme/tiny"))
