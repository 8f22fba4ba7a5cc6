"""The mirror's status: versions and downloads of public repositories only."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.library.library import Library
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.api.folders import Shelf
from preheat.mirror.upstream.visibility import CLOSED, OPEN, Gate
from preheat.verbs.mirror import MirrorOptions, mirror
from tests.library.shelves import shelve


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """The URL of a mirror that has models of all kinds."""
    library = Library(tmp_path / "library")
    for name in (
        "hf:acme/own",
        "hf:acme/open",
        "hf:acme/secret",
        "hf:evil/one",
        "ms:acme/own",
        "hf:datasets/acme/rows",
    ):
        shelve(library, name, {"weights.bin": name.encode() * 100})
    shelve(library, f"file:{tmp_path}/private-folder", {"weights.bin": b"here"})
    Gate(library.root).note(Ref.parse("hf:acme/open"), OPEN)
    Gate(library.root).note(Ref.parse("hf:acme/secret"), CLOSED)
    (tmp_path / "voice").mkdir()
    (tmp_path / "voice" / "voice.bin").write_bytes(b"voice" * 1000)
    options = MirrorOptions(ReloadableSettings(Words(deny=("evil/*",))))
    shelf = Shelf({"me/voice": tmp_path / "voice"})
    with mirror(("127.0.0.1", 0), library, shelf, lambda event: None, options=options) as server:
        yield server.url


def get(url: str, accept: str = "*/*") -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=20) as answer:
        body: bytes = answer.read()
        return body


def test_private_repositories_are_on_no_list(url: str) -> None:
    told = json.loads(get(f"{url}/status.json"))
    named = {model["ref"] for model in told["library"]["models"]}
    assert named == {"hf:acme/own", "hf:acme/open", "ms:acme/own", "hf:datasets/acme/rows"}
    for address in ("/", "/status.json", "/metrics"):
        for accept in ("*/*", "text/html"):
            said = get(url + address, accept)
            for hidden in (b"secret", b"evil", b"private-folder"):
                assert hidden not in said


def test_served_bytes_are_counted_and_documents_are_not_files(url: str) -> None:
    get(f"{url}/me/voice/resolve/main/voice.bin")
    get(f"{url}/api/models/acme/own")
    told = json.loads(get(f"{url}/status.json"))
    assert told["upstream"]["hits"] == 1
    assert told["served"]["given"] == told["saved"] == 5000
    assert told["served"]["sent"] > 5000
    lines = get(f"{url}/metrics").decode().splitlines()
    assert "preheat_mirror_hits_total 1" in lines
    assert "preheat_mirror_given_bytes_total 5000" in lines
