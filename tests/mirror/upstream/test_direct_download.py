"""A small file is downloaded with one request by the thread that serves it; what fails goes on as a large one does."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.core.errors import HubUnavailable, IntegrityError
from preheat.core.events import Event
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.huggingface import HuggingFace
from preheat.library.library import Library
from preheat.mirror.http.messages import Answer, Request
from preheat.mirror.upstream import direct_download
from preheat.mirror.upstream.direct_download import LARGEST, DirectDownloads
from preheat.net.http import NetworkSettings, Transport
from preheat.transfer.route import Way
from tests.authority import trusting
from tests.flaky_hub import FlakyHub, answers_after, flips_a_byte_at, hangs_up_after, refuses
from tests.mirror.rooms import Room

Rooms = Callable[..., Room]
_AT = "/acme/tiny/resolve/main/"
_SMALL = ("config.json", "note.txt", "voices/m%C3%BCde%20%26%20froh%20%231.txt")


@pytest.fixture
def room(rooms: Rooms, hub: FlakyHub) -> Room:
    """A mirror that has recorded the commit."""
    room = rooms(hub.url)
    assert room.ask(f"{_AT}note.txt").status == 200
    _remove_blobs(room)
    hub.recovers()
    return room


def _remove_blobs(room: Room) -> None:
    for path in (room.library.root / "blobs").glob("*/*/*"):
        path.unlink()


def _working() -> set[str]:
    names = ("arrival", "errand", "fetch-", "sync", "helper")
    return {one.name for one in threading.enumerate() if one.name.startswith(names)}


def test_small_files_start_no_threads_and_are_requested_once(room: Room, hub: FlakyHub, model: Path) -> None:
    seen: set[str] = set()

    def look(_request: Request, full: Answer) -> Answer:
        seen.update(_working())
        return full

    deadline = time.monotonic() + 60  # for those that earlier tests left
    while _working():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    hub.fails("", look)
    for name in _SMALL:
        told = room.ask(_AT + name)
        assert (told.status, told.whole) == (200, True)
        assert "x-preheat-unverified" not in told.headers
    assert room.ask(f"{_AT}config.json").body == (model / "config.json").read_bytes()
    assert seen == set()
    assert len(hub.asked("/resolve/")) == len(_SMALL)
    assert list(room.library.root.glob("claims/*")) == []
    assert list(room.library.root.glob("partial/*")) == []


@pytest.mark.parametrize("fault", [refuses(503), hangs_up_after(1), flips_a_byte_at(0)])
def test_a_request_that_fails_is_tried_again(
    room: Room, hub: FlakyHub, model: Path, fault: Callable[[Request, Answer], Answer]
) -> None:
    hub.fails(r"note\.txt$", fault, times=1)
    told = room.ask(f"{_AT}note.txt")
    assert (told.status, told.body) == (200, (model / "note.txt").read_bytes())
    assert list(room.library.root.glob("mirror/spoilt/*")) == []


def test_a_refusal_ends_it_at_once(room: Room, hub: FlakyHub) -> None:
    hub.fails(r"note\.txt$", refuses(404))
    assert room.ask(f"{_AT}note.txt").status == 404
    assert len(hub.asked(r"note\.txt$")) == 1


def test_wrong_bytes_have_no_name_and_are_sent_to_no_client(room: Room, hub: FlakyHub) -> None:
    hub.fails(r"note\.txt$", flips_a_byte_at(0))
    told = room.ask(f"{_AT}note.txt")
    assert (told.status, b"m!" in told.body) == (502, False)
    assert [path for path in (room.library.root / "blobs").glob("*/*/*") if path.is_file()] == []
    assert list(room.library.root.glob("partial/*")) == []


def test_clients_that_ask_meanwhile_wait_for_the_same_download(room: Room, hub: FlakyHub) -> None:
    hub.fails(r"note\.txt$", answers_after(0.3))
    clients = [threading.Thread(target=room.ask, args=(f"{_AT}note.txt",)) for _ in range(8)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert len(hub.asked(r"note\.txt$")) == 1


class Direct:
    """Direct downloads of the hub's files, without a mirror."""

    def __init__(self, hub: FlakyHub, root: Path) -> None:
        self.library = Library(root)
        self.library.prepare(0)
        self.events: list[Event] = []
        self.downloads = DirectDownloads(self.library, self.events.append)
        source = HuggingFace(hub.url, Transport(trusting(NetworkSettings(connect_s=2.0, read_s=20.0))))
        self.snapshot: Snapshot = source.resolve(Ref.parse("hf:acme/tiny"))
        self.way = Way(hub.url, source, self.snapshot)

    def file(self, path: str) -> File:
        file = self.snapshot.file(path)
        assert file is not None
        return file

    def bring(self, path: str, *, stopped: bool = False) -> None:
        self.downloads.bring(self.file(path), self.way, lambda: stopped)


def test_a_download_that_is_stopped_is_interrupted(hub: FlakyHub, tmp_path: Path) -> None:
    direct = Direct(hub, tmp_path / "library")
    hub.fails(r"note\.txt$", answers_after(10))
    began = time.monotonic()
    with pytest.raises(HubUnavailable):
        direct.bring("note.txt", stopped=True)
    assert time.monotonic() < began + 10


def test_a_source_that_failed_rests(hub: FlakyHub, tmp_path: Path) -> None:
    direct = Direct(hub, tmp_path / "library")
    note = direct.file("note.txt")
    assert direct.downloads.suits(note, direct.way)
    hub.fails("", refuses(429, Retry_After="60"))
    with pytest.raises(HubUnavailable):
        direct.bring("note.txt")
    assert not direct.downloads.suits(note, direct.way)


def test_only_files_that_are_held_back_as_a_whole_are_small(hub: FlakyHub, tmp_path: Path) -> None:
    direct = Direct(hub, tmp_path / "library")
    assert not direct.downloads.suits(direct.file("model.safetensors"), direct.way)
    note = direct.file("note.txt")
    assert direct.downloads.suits(File("a", LARGEST, note.digest), direct.way)
    assert not direct.downloads.suits(File("a", LARGEST + 1, note.digest), direct.way)


def test_names_become_durable_soon_and_the_watching_thread_ends(
    hub: FlakyHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_LOOK_EVERY_S", "_SETTLE_EVERY_S", "_QUIET_S"):
        monkeypatch.setattr(direct_download, name, 0.05)
    direct = Direct(hub, tmp_path / "library")
    before = set(threading.enumerate())  # those of other tests end later

    def watching() -> bool:
        return any(one.name == "direct" for one in set(threading.enumerate()) - before)

    for _ in range(2):  # the second time, in a new thread
        direct.bring("note.txt")
        deadline = time.monotonic() + 20
        while direct.library._blobs._unsettled or watching():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_wrong_file_leaves_nothing(hub: FlakyHub, tmp_path: Path) -> None:
    direct = Direct(hub, tmp_path / "library")
    hub.fails(r"note\.txt$", flips_a_byte_at(0), times=1)
    with pytest.raises(IntegrityError):
        direct.bring("note.txt")
    assert list((tmp_path / "library" / "partial").iterdir()) == []
    direct.bring("note.txt")
    assert direct.library.has(direct.file("note.txt").digest)
