"""A HEAD on an open connection costs a mirror few operations, and as many at each size of the repository."""

import hashlib
import http.client
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library
from preheat.mirror.api.folders import Shelf
from preheat.mirror.http.server import Server
from preheat.verbs.mirror import mirror
from tests.library.shelves import keep

_DATA = b"x" * 100
_ROUND = 10
_MOST_CALLS = 400  # of functions, Python's and C's; with a thread a client it was 900


def _library(root: Path, count: int) -> Library:
    library = Library(root)
    digest = sha256(hashlib.sha256(_DATA).hexdigest())
    files = tuple(File(f"part-{number}.bin", len(_DATA), digest) for number in range(count))
    keep(library, files[0], _DATA)
    library.record(Snapshot(Ref.parse("hf:acme/many"), "a" * 40, files))
    return Library(root)


class Counted:
    """A mirror whose threads count the functions that they call: Python's as `name()`, others as `name`."""

    def __init__(self, library: Library) -> None:
        self._count: Counter[str] = Counter()
        threading.setprofile(self._note)  # of each thread that starts until `close`
        self._server: Server = mirror(("127.0.0.1", 0), library, Shelf({}), lambda _event: None)
        self._server.start()
        host, port = self._server.url.rpartition("/")[2].split(":")
        self._client = http.client.HTTPConnection(host, int(port), timeout=20)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            self._count[f"{frame.f_code.co_name}()"] += 1
        elif event == "c_call":
            self._count[getattr(argument, "__name__", "")] += 1

    def round(self) -> Counter[str]:
        """Send HEAD requests on one connection; return the calls that they cost."""
        self._head()
        before = self._count.copy()
        for _ in range(_ROUND):
            self._head()
        return self._count - before

    def _head(self) -> None:
        self._client.request("HEAD", "/acme/many/resolve/main/part-0.bin")
        response = self._client.getresponse()
        response.read()
        assert (response.status, response.headers["Content-Length"]) == (200, "100")

    def close(self) -> None:
        threading.setprofile(None)
        self._client.close()
        self._server.stop(0.2)


def _cost(root: Path, count: int) -> Counter[str]:
    """Return the calls of the cheapest round, once the files are too old to have changed unseen."""
    counted = Counted(_library(root, count))
    try:
        deadline = time.monotonic() + 20
        while (cost := counted.round())["open"] or not cost["send"]:
            assert time.monotonic() < deadline
        return min((counted.round() for _ in range(4)), key=lambda cost: cost.total())
    finally:
        counted.close()


def test_a_head_on_an_open_connection_costs_few_operations_at_any_size(tmp_path: Path) -> None:
    few, many = (_cost(tmp_path / str(count), count) for count in (3, 1_000))
    for cost in (few, many):
        assert cost["stat"] + cost["lstat"] <= 4 * _ROUND  # branch, record, visibility, blob
        assert cost["recv"] <= _ROUND + 1
        assert cost["send"] <= _ROUND + 1
        assert {cost[name] for name in ("open", "_read()", "next_event()", "register", "start()")} == {0}
        assert cost.total() <= _MOST_CALLS * _ROUND
    assert many.total() <= few.total() * 1.05
