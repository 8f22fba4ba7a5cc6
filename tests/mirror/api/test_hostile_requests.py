"""Whatever a client asks, upstream is asked for a repository's own addresses, and never with another's token."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.hubs.huggingface import HuggingFace
from preheat.library.library import Library
from preheat.mirror.api.hf_routes import answer
from preheat.mirror.http.messages import Answer, Flow, Request, bearer
from preheat.mirror.upstream.fetches import Fetches
from preheat.mirror.upstream.pull_through import PullThrough, Remembering
from preheat.mirror.upstream.requester import Asker
from preheat.mirror.upstream.upstream import Upstream, Upstreams
from preheat.net.http import Transport, Wires
from preheat.transfer.fetch import Policy
from tests.authority import trusting
from tests.flaky_hub import FlakyHub

_WORDS = (
    "api v1 models datasets spaces acme tiny rows resolve main master tree revision refs paths-info repo files "
    "config.json note.txt . .. %2e%2e %2F %00 %0d%0a %ff @ : ? # [::1] 169.254.169.254 localhost%2f.."
)
_words = st.one_of(
    st.sampled_from(_WORDS.split()),
    st.text(max_size=6).map(lambda text: quote(text.encode("utf-8", "replace"), safe="")),
)
_queries = st.sampled_from(
    ["", "?Revision=main&FilePath=note.txt", "?Revision=../..&FilePath=/etc/passwd", "?cursor=5"]
)
_targets = st.builds(lambda words, query: "/" + "/".join(words) + query, st.lists(_words, max_size=7), _queries)
_headers = st.dictionaries(
    st.sampled_from(["range", "if-none-match", "authorization", "host", "x-forwarded-proto"]),
    st.sampled_from(["bytes=0-0", "bytes=0-0,1-1", "Bearer hf_secret_0123", "Bearer a\r\nb", "*", "localhost"]),
)


class Behind:
    """A mirror's answers without a socket, so that what no client could send can be asked too."""

    def __init__(self, folder: Path, hub: FlakyHub) -> None:
        self.library = Library(folder)
        transport = Transport(trusting(Wires(connect_s=2.0, read_s=5.0)))
        upstream = Upstream("hf", hub.url, lambda asker: HuggingFace(hub.url, transport, asker.token, asker.headers))
        fetches = Fetches(self.library, Policy(connections=4), lambda _event: None)
        self._through = PullThrough(self.library, Upstreams([upstream]), fetches, Remembering(1.0, 1.0, 0.0))

    def reply(self, request: Request) -> Answer:
        """Answer a request."""
        return answer(request, lambda ref: self._through.find(ref, Asker(bearer(request))))


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Behind, FlakyHub]]:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "model").mkdir()
    (folder / "model/note.txt").write_text("hm!\n")
    (folder / "model/config.json").write_text("{}")
    with FlakyHub({"acme/tiny": folder / "model", "datasets/acme/rows": folder / "model"}) as hub:
        yield Behind(folder / "library", hub), hub


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["GET", "HEAD", "POST", "PUT"]), _targets, _headers)
def test_no_question_leads_the_mirror_astray(
    behind: tuple[Behind, FlakyHub], method: str, target: str, headers: dict[str, str]
) -> None:
    room, hub = behind
    told = room.reply(Request(method, target, headers))
    assert told.status < 500
    asked = hub.asked()
    hub.recovers()
    for request in asked:
        path = unquote(request.target.partition("?")[0])
        assert re.match(r"/api/(models|datasets|spaces)/[^/]+|/[^/]+(/[^/]+)?/resolve/[0-9a-f]{40}/|/datasets/", path)
        assert ".." not in path.split("/")
        assert not re.search(r"[\x00-\x20\x7f]", request.target)
        # The token is the client's own, or none.
        assert request.headers.get("authorization", "") in ("", headers.get("authorization", ""))
    if isinstance(told.body, Flow):
        for file, start, stop in told.body.pieces():
            assert Path(str(file.name)).is_relative_to(room.library.root)
            assert start < stop


def test_what_the_mirror_says_no_to_upstream_never_hears_of(behind: tuple[Behind, FlakyHub]) -> None:
    room, hub = behind
    hub.recovers()
    for target in (
        "/acme/../etc/resolve/main/passwd",
        "/acme/tiny/resolve/..%2f..%2fmain/note.txt",
        "/api/models/acme/tiny/revision/a%0d%0aHost:%20evil",
        "/api/models/..%2f..%2fapi/whoami-v2/revision/main",
        "/api/v1/models/acme/..%2ftiny/repo?FilePath=note.txt&Revision=master",
        "/favicon.ico",
        "/robots.txt",
        "/-/npm",
    ):
        assert room.reply(Request("GET", target)).status in (400, 404), target
    assert [request.target for request in hub.asked() if "revision/main" not in request.target] == []


def test_a_thousand_ranges_are_one_whole_file(behind: tuple[Behind, FlakyHub]) -> None:
    room, _ = behind
    told: Answer = room.reply(
        Request("GET", "/acme/tiny/resolve/main/note.txt", {"range": "bytes=" + "0-0," * 1000 + "1-1"})
    )
    assert (told.status, told.headers["Content-Length"]) == (200, "4")
