"""The guard serves prepared answers as the mirror answers the same requests."""

import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from preheat.guard.net.answer_server import AnsweringHub, answer_hub
from preheat.guard.net.prepared_answers import read_answers
from preheat.library.library import Library
from preheat.mirror.api.folders import Shelf
from preheat.recipes.recipe import read_recipe
from preheat.verbs.building.prepare_answers import prepare_answers
from preheat.verbs.local_hub import needs_alone
from preheat.verbs.locked_needs import require
from preheat.verbs.mirror import mirror
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.guard.apps import until

RECIPE = """
[app]
name = "asks"
command = ["python3", "app.py"]
hub = true
[[needs]]
ref = "hf:acme/tiny"
[[needs]]
ref = "hf:datasets/acme/rows"
[[needs]]
ref = "ms:acme/tiny"
[[needs]]
ref = "ms:datasets/acme/rows"
"""
ODD = quote("voices/müde & froh #1.txt")
COMMIT = "COMMIT"
RANGED = {"Range": "bytes=5-9"}


class Hubs:
    """The mirror and the guard's server over the same needs."""

    def __init__(self, ours: str, guard: AnsweringHub, commit: str) -> None:
        self.mirror, self.guard, self.commit = ours, guard, commit

    def both(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[object, object]:
        """Return what a client sees of the mirror's response and of the guard's."""
        target = target.replace(COMMIT, self.commit)
        urls = (self.mirror, self.guard.environ["HF_ENDPOINT"])
        first, second = (_seen(url, method, target, headers or {}, body) for url in urls)
        return first, second


def _seen(url: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[object, ...]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request(method, target, body or None, dict(headers))
    response = connection.getresponse()
    told = response.read()
    connection.close()
    names = (
        "ETag",
        "X-Linked-Etag",
        "X-Linked-Size",
        "X-Repo-Commit",
        "X-Error-Code",
        "Content-Range",
        "Accept-Ranges",
    )
    shown = {name: response.headers[name] for name in names}
    if response.status < 400:
        shown["Content-Length"] = response.headers["Content-Length"]
        shown["Content-Type"] = response.headers["Content-Type"]
    if "json" in (response.headers["Content-Type"] or "") and response.status < 400 and told:
        return response.status, shown | {"Content-Length": None}, json.loads(told)
    return response.status, shown, told if response.status < 400 else b""


@pytest.fixture(scope="module")
def hubs(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Hubs]:
    folder = tmp_path_factory.mktemp("hubs")
    recipe = folder / "preheat.toml"
    recipe.write_text(RECIPE)
    with ExitStack() as stack:
        hub = stack.enter_context(FlakyHub({"acme/tiny": model, "datasets/acme/rows": model}))
        preheat = Preheat(folder, hub.url)
        stack.callback(preheat.close)
        preheat.env["MODELSCOPE_ENDPOINT"] = hub.url
        told = preheat("pull", str(recipe))
        assert told.status == 0, told.err
        library = Library(preheat.library)
        needed = require(read_recipe(recipe), library, print)
        text = prepare_answers(needed, library, lambda digest: str(library.path(digest)))
        (folder / "hub.json").write_text(text)
        guard = answer_hub(read_answers(str(folder / "hub.json")), {}, stack)
        alone = needs_alone(needed, library, folder / "alone")
        server = stack.enter_context(mirror(("127.0.0.1", 0), alone, Shelf({}), lambda _: None))
        yield Hubs(server.url, guard, needed[0][1].commit)


@pytest.mark.parametrize(
    "target",
    [
        "/api/models/acme/tiny",
        "/api/models/acme/tiny/revision/main",
        "/api/models/acme/tiny/revision/COMMIT?expand[]=sha",
        "/api/models/acme/tiny/revision/other",
        "/api/models/acme/tiny/refs",
        "/api/models/acme/tiny/tree/main",
        "/api/models/acme/tiny/tree/COMMIT?recursive=True&expand=False",
        "/api/models/acme/tiny/tree/main/voices?recursive=true",
        "/api/models/acme/tiny/tree/main/voices%2Fdeep",
        "/api/models/acme/tiny/tree/main/nothing",
        "/api/models/acme/nothing",
        "/api/datasets/acme/rows/tree/main?recursive=1",
        "/api/whoami-v2-of-nobody",
        "/acme/tiny/resolve/main/config.json",
        "/acme/tiny/resolve/main/empty.txt",
        f"/acme/tiny/resolve/COMMIT/{ODD}",
        "/acme/tiny/resolve/main/nothing.json",
        "/acme/tiny/resolve/other/config.json",
        "/acme/nothing/resolve/main/config.json",
        "/datasets/acme/rows/resolve/main/note.txt?download=true",
        "/api/v1/models/acme/tiny",
        "/api/v1/models/acme/tiny/revisions",
        "/api/v1/models/acme/tiny/repo/files?Revision=master&Recursive=True",
        "/api/v1/models/acme/tiny/repo/files?Recursive=False&Root=/",
        "/api/v1/models/acme/tiny/repo/files?Root=voices&Revision=COMMIT",
        "/api/v1/models/acme/tiny/repo/files?Revision=other&Recursive=True",
        "/api/v1/models/acme/tiny/repo?Revision=master&FilePath=config.json",
        f"/api/v1/models/acme/tiny/repo?FilePath={ODD}",
        "/api/v1/models/acme/tiny/repo?Revision=master&FilePath=nothing",
        "/api/v1/models/acme/nothing/revisions",
        "/api/v1/repos/internalAccelerationInfo",
        "/api/v1/datasets/acme/rows/repo/tree?Revision=master&Recursive=True&PageNumber=1&PageSize=100",
        "/api/v1/datasets/acme/rows/repo/tree?Revision=master&Recursive=True&PageNumber=2&PageSize=100",
        "/api/v1/datasets/acme/rows/repo?Revision=master&FilePath=note.txt",
        "/acme/tiny/resolve/main/../../../etc/passwd",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_sees_the_same_from_the_guard_as_from_the_mirror(hubs: Hubs, method: str, target: str) -> None:
    wanted, seen = hubs.both(method, target)
    assert seen == wanted


@pytest.mark.parametrize(
    "headers",
    [
        RANGED,
        {"Range": "bytes=8999990-"},
        {"Range": "bytes=-7"},
        {"Range": "bytes=9000000-"},
        {"Range": "bytes=0-1,3-4"},
        {"If-None-Match": "*"},
        {**RANGED, "If-Range": '"other"'},
    ],
)
def test_ranges_and_conditions_of_a_large_file(hubs: Hubs, headers: dict[str, str]) -> None:
    for target in ("/acme/tiny/resolve/main/model.safetensors", "/api/v1/models/acme/tiny/repo?FilePath=note.txt"):
        wanted, seen = hubs.both("GET", target, headers)
        assert seen == wanted


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"paths": ["config.json", "voices", "nothing", "voices/deep/low.bin"], "expand": true}'),
        ("application/json", b'{"paths": "config.json"}'),
        ("application/json", b'{"paths": '),
        ("application/x-www-form-urlencoded", b"paths=config.json&paths=voices&expand=False"),
    ],
)
def test_paths_info(hubs: Hubs, kind: str, body: bytes) -> None:
    for target in ("/api/models/acme/tiny/paths-info/main", "/api/datasets/acme/rows/paths-info/COMMIT"):
        wanted, seen = hubs.both("POST", target, {"Content-Type": kind}, body)
        assert seen == wanted


def test_a_client_that_requires_tls_trusts_the_certificate_of_one_start(hubs: Hubs) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl program")
    assert not hubs.guard.unencrypted
    host, _, port = hubs.guard.environ["MODELSCOPE_DOMAIN"].partition(":")
    trusted = ssl.create_default_context(cafile=hubs.guard.environ["REQUESTS_CA_BUNDLE"])
    with closing(http.client.HTTPSConnection(host, int(port), context=trusted, timeout=30)) as connection:
        connection.request("GET", "/api/v1/models/acme/tiny/repo?FilePath=model.safetensors")
        assert len(connection.getresponse().read()) == 9_000_000


def test_another_host_name_is_refused(hubs: Hubs) -> None:
    url = hubs.guard.environ["HF_ENDPOINT"]
    assert _seen(url, "GET", "/api/models/acme/tiny", {"Host": "evil.example:80"}, b"")[0] == 421


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET /api/models/acme/tiny HTTP/1.1\r\nHost: localhost:\r\n X-Other: 1\r\n\r\n", b"421"),
        (b"GET /api/models/acme/tiny HTTP/1.1\r\nHost: localhost\r\nContent-Length: \xb2\r\n\r\n", b"413"),
    ],
)
def test_an_odd_request_is_refused(hubs: Hubs, head: bytes, status: bytes) -> None:
    host, _, port = hubs.guard.environ["MODELSCOPE_ENDPOINT"].removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(head)
        assert client.recv(4096).split(b" ")[1] == status


@pytest.mark.parametrize("secure", [False, True])
def test_silent_clients_leave_room_for_others(hubs: Hubs, secure: bool) -> None:
    if secure and hubs.guard.unencrypted:
        pytest.skip(hubs.guard.unencrypted)
    url = hubs.guard.environ["HF_ENDPOINT"]
    host, _, port = (hubs.guard.environ["MODELSCOPE_DOMAIN"] if secure else urlsplit(url).netloc).partition(":")
    with ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
        assert _seen(url, "GET", "/api/models/acme/tiny", {}, b"")[0] == 200
        until(lambda: threading.active_count() > 250)
        time.sleep(0.5)
        assert threading.active_count() < 290


def test_no_key_is_left_on_the_disk(hubs: Hubs) -> None:
    if hubs.guard.unencrypted:
        pytest.skip(hubs.guard.unencrypted)
    assert not list(Path(hubs.guard.environ["REQUESTS_CA_BUNDLE"]).parent.glob("*key*"))


def test_a_file_that_has_changed_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"other")
    told = {"status": 200, "headers": {}, "file": str(tmp_path / "weights"), "size": 4}
    document = {"form": 1, "environ": {"HF_ENDPOINT": "{url}"}, "secure": {}, "answers": {"/w": [told]}, "below": {}}
    (tmp_path / "hub.json").write_text(json.dumps(document))
    with ExitStack() as stack:
        hub = answer_hub(read_answers(str(tmp_path / "hub.json")), {}, stack)
        assert _seen(hub.environ["HF_ENDPOINT"], "GET", "/w", {}, b"")[0] == 503


@pytest.mark.parametrize("text", ["", "[]", '{"form": 2}', '{"form": 1}', "[" * 100_000])
def test_an_invalid_file_of_answers_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "hub.json").write_text(text)
    with pytest.raises(ValueError, match=r"hub\.json"):
        read_answers(str(tmp_path / "hub.json"))
