"""A reloaded token or rule counts for the next request, also on a connection that is already open."""

import http.client
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.mirror.access.reloadable import ReloadableSettings, Words
from preheat.mirror.api.folders import Shelf
from preheat.mirror.upstream.visibility import CLOSED, Gate
from preheat.verbs.mirror import MirrorOptions, mirror
from tests.library.shelves import file_of, keep

_OLD, _NEW = "first-token-123", "second-token-123"


class Guarded:
    """A mirror with a token file and a file of denied names, and one open connection to it."""

    def __init__(self, root: Path) -> None:
        self.library = Library(root / "library")
        data = b"x" * 100
        file = file_of("config.json", data)
        keep(self.library, file, data)
        self.library.record(Snapshot(Ref.parse("hf:acme/tiny"), "a" * 40, (file,)))
        self.tokens, self.denied = root / "tokens", root / "denied"
        self.tokens.write_text(_OLD)
        self.denied.write_text("other/*\n")
        self.settings = ReloadableSettings(Words(token_file=self.tokens, deny=(f"@{self.denied}",)))
        self.server = mirror(
            ("127.0.0.1", 0), self.library, Shelf({}), lambda _: None, options=MirrorOptions(self.settings)
        )
        self.server.start()
        host, port = self.server.url.rpartition("/")[2].split(":")
        self.client = http.client.HTTPConnection(host, int(port), timeout=20)

    def head(self, token: str = _OLD) -> int:
        self.client.request("HEAD", "/acme/tiny/resolve/main/config.json", headers={"Authorization": f"Bearer {token}"})
        response = self.client.getresponse()
        response.read()
        return response.status


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path)
    yield guarded
    guarded.client.close()
    guarded.server.stop(0.2)


def _new_token(guarded: Guarded) -> None:
    guarded.tokens.write_text(_NEW)
    guarded.settings.reload()


def _new_rule(guarded: Guarded) -> None:
    guarded.denied.write_text("acme/*\n")
    guarded.settings.reload()


def _moved_branch(guarded: Guarded) -> None:
    Library(guarded.library.root).record(Snapshot(Ref.parse("hf:acme/tiny"), "b" * 40, ()))  # as another process does


def _closed(guarded: Guarded) -> None:
    Gate(guarded.library.root).note(Ref.parse("hf:acme/tiny"), CLOSED)


@pytest.mark.parametrize(
    ("change", "status"), [(_new_token, 401), (_new_rule, 403), (_moved_branch, 404), (_closed, 401)]
)
def test_a_change_counts_for_the_next_request_of_an_open_connection(
    guarded: Guarded, change: Callable[[Guarded], None], status: int
) -> None:
    assert [guarded.head() for _ in range(3)] == [200] * 3
    before = guarded.client.sock
    change(guarded)
    assert guarded.head() == status
    assert guarded.client.sock is before
    if status == 401 and change is _new_token:
        assert [guarded.head(_NEW), guarded.head(_OLD)] == [200, 401]
