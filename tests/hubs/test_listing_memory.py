"""All lists of files that a mirror reads at once have one budget of memory; the longest makes room for others."""

import json
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.errors import MirrorBusy
from preheat.core.ref import Ref
from preheat.hubs import listing
from preheat.hubs.hf_api import read_tree
from preheat.hubs.huggingface import HuggingFace
from preheat.hubs.listing import ListingLimit, ListingMemory, ListingShare
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.http.server import Server
from preheat.net.http import Transport, Wires
from tests.authority import authority, trusting

REF = Ref.parse("hf:acme/tiny")
MIB = 1 << 20


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_ROOM_WITHIN_S", 0.0)


def takes(share: ListingShare, size: int) -> bool:
    try:
        share.take(size)
    except MirrorBusy:
        return False
    return True


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4 * MIB)), max_size=40))
def test_the_budget_is_never_exceeded(steps: list[tuple[int, int]]) -> None:
    memory = ListingMemory(8 * MIB)
    shares = [ListingShare(memory, "abc"[number % 3]) for number in range(6)]
    for number, size in steps:
        takes(shares[number], size)
        assert memory.taken <= 8 * MIB


def test_the_client_with_the_longest_lists_makes_room_and_gives_its_memory_back() -> None:
    memory = ListingMemory(8 * MIB)
    with memory.share("a") as first, memory.share("a") as second, memory.share("b") as honest:
        assert takes(first, 5 * MIB)
        assert takes(second, 3 * MIB)
        assert not takes(honest, MIB)  # it did not wait for the memory
        assert (first.stopped, second.stopped) == (True, False)
        assert not takes(first, 6 * MIB)
    assert memory.taken == 0
    with memory.share("b") as honest:
        assert takes(honest, 8 * MIB)


def test_a_list_waits_for_the_memory_of_one_that_was_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_ROOM_WITHIN_S", 20.0)
    memory = ListingMemory(8 * MIB)
    with memory.share("b") as honest:
        held = memory.share("a")
        assert takes(held.__enter__(), 8 * MIB)
        taken: list[bool] = []
        waiting = threading.Thread(target=lambda: taken.append(takes(honest, MIB)))
        waiting.start()
        held.__exit__(None, None, None)
        waiting.join(20)
        assert taken == [True]


def test_of_two_long_lists_of_one_client_one_is_read_to_its_end() -> None:
    memory = ListingMemory(8 * MIB)
    with memory.share("a") as one:
        with memory.share("a") as other:
            assert takes(one, 4 * MIB)
            assert takes(other, 4 * MIB)
            assert not takes(other, 5 * MIB)
        assert takes(one, 8 * MIB)


def test_a_short_list_is_read_in_any_case() -> None:
    memory = ListingMemory(MIB)
    with memory.share("a") as one, memory.share("a") as other:
        assert takes(one, MIB)
        assert takes(other, 60_000)


def test_endless_lists_take_no_more_than_the_budget_and_others_are_read() -> None:
    rows = json.dumps(
        [{"type": "file", "path": f"{'d' * 100}/{at}", "oid": "b" * 40, "size": 5} for at in range(5_000)]
    )
    asked: dict[str, int] = {}

    def answer(request: Request) -> Answer:
        path = request.target.partition("?")[0]
        if "/tree/" not in path:
            body = json.dumps({"sha": "a" * 40, "siblings": [{"rfilename": "m.bin"}]}).encode()
            return Answer(200, {"Content-Length": str(len(body))}, body)
        asked[path] = asked.get(path, 0) + 1
        body = rows.replace("ddd", f"{asked[path]:03}", 1).encode()
        link = {} if "short" in path else {"Link": f'<{path}?cursor={asked[path]}>; rel="next"'}
        return Answer(200, {"Content-Length": str(len(body)), **link}, body)

    memory = ListingMemory(32 * MIB)
    with Server(("127.0.0.1", 0), answer, lambda _event: None, tls=authority().context) as server:
        hub = partial(HuggingFace, server.url, Transport(trusting(Wires())), "", {})
        for client in "ab":
            limit = partial(ListingLimit, memory=memory, client=client)
            with pytest.raises(MirrorBusy, match="too many long lists"):
                hub(limit).resolve(Ref.parse(f"hf:acme/{client}"))
            assert memory.taken == 0
        limit = partial(ListingLimit, memory=memory, client="c")
        assert len(hub(limit).resolve(Ref.parse("hf:acme/short")).files) == 5_000
    assert 10 < asked["/api/models/acme/a/tree/" + "a" * 40] < 40


def test_what_is_counted_is_no_less_than_what_a_list_takes() -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    for row in (
        '{"type":"file","path":"%d","oid":"%040x","size":500000}',
        '{"type":"file","path":"%d","oid":"%040x","size":5,"lfs":{"oid":"' + "a" * 64 + '","size":5}}',
    ):
        body = ("[" + ",".join(row % (at, at) for at in range(5_000)) + "]").encode()
        tracemalloc.start()
        files = read_tree(body)
        kept, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        memory = ListingMemory()
        with ListingLimit(REF, memory=memory) as limit:
            limit.parsing(body)
            assert most + len(body) <= memory.taken
            limit.add(len(files), len(body))
            assert kept <= memory.taken
