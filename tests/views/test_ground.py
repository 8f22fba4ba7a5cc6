"""For every layout: no file of the user's is ever lost, whatever it is, and placing again changes nothing."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preheat.core.errors import Occupied
from preheat.core.events import Event, MovedAside, Reading
from preheat.core.snapshot import Snapshot
from preheat.core.values.replace import replace
from preheat.library.library import Library
from preheat.verbs.placing.allowed_places import NO_PERMISSION, Permissions, places_of
from preheat.verbs.placing.place import place_sites
from preheat.verbs.view import site_at
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.layouts.torch_hub import TorchHub
from preheat.views.layouts.whisper import Whisper
from preheat.views.links import WAYS
from preheat.views.view_protocol import PlacedFile, View
from tests.views.kept import COMMIT, MODEL, keep

VIEWS = [HuggingFaceCache, LocalDir, ModelScopeCache, OldModelScopeCache, Flat, Whisper, TorchHub]
STATES = ["absent", "same", "other", "other of that size", "link to the same", "link to other", "dangling", "folder"]
OTHER = "f" * 40


class Ground:
    """A library, a view, and a folder of the user's where the view is placed."""

    def __init__(self, folder: Path, make: type, way: str) -> None:
        self.library = Library(folder / "library")
        self.snapshot = keep(folder / "library", files={**MODEL, "voices/high.pt": b"h" * 2000})
        self.at = folder / "at"
        self.mine = folder / "mine"
        self.mine.mkdir()
        self.view: View = make(WAYS[way])
        self.library.record(self.snapshot)
        self.events: list[Event] = []

    @property
    def pieces(self) -> list[PlacedFile]:
        layout = self.view.layout(self.snapshot, self.at, whole=True)
        return [piece for piece in layout if isinstance(piece, PlacedFile)]

    def place(self, permissions: Permissions = NO_PERMISSION, snapshot: Snapshot | None = None) -> None:
        self.events.clear()
        site = site_at(snapshot or self.snapshot, self.library, self.view, self.at, permissions)
        place_sites([site], self.library, self.events.append, permissions)

    def lay(self, piece: PlacedFile, state: str, at: Path | None = None) -> None:
        """Write a file of the user's where a view's file belongs."""
        at, right = at or piece.pointer or piece.at, self.library.path(piece.file.digest).read_bytes()
        if state == "absent" or os.path.lexists(at):
            return
        at.parent.mkdir(parents=True, exist_ok=True)
        number = len(list(self.mine.iterdir()))
        other = self.mine / f"{number}"
        match state:
            case "same":
                at.write_bytes(right)
            case "other":
                at.write_bytes(b"the user's " + right)
            case "other of that size":
                at.write_bytes(bytes(byte ^ 1 for byte in right))
            case "link to the same":
                other.write_bytes(right)
                at.symlink_to(other)
            case "link to other":
                other.write_bytes(b"the user's")
                at.symlink_to(other)
            case "dangling":
                at.symlink_to(self.mine / "nothing")
            case "folder":
                at.mkdir()
                (at / "own").write_text("the user's")

    def state(self) -> dict[str, tuple[int, int, bytes | str]]:
        """Describe all files in both folders, so that any change shows."""
        return {str(path): _state(path) for top in (self.at, self.mine) for path in top.rglob("*")}


def _state(path: Path) -> tuple[int, int, bytes | str]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return status.st_ino, status.st_mode, str(path.readlink())
    return status.st_ino, status.st_mode, path.read_bytes() if stat.S_ISREG(status.st_mode) else ""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())
    yield made
    shutil.rmtree(made)


def _is_right(ground: Ground, piece: PlacedFile, at: Path | None = None) -> bool:
    at = at or piece.pointer or piece.at
    return at.is_file() and at.read_bytes() == ground.library.path(piece.file.digest).read_bytes()


@pytest.mark.parametrize("make", VIEWS, ids=lambda make: make.kind)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_file_of_the_users_is_lost(make: type, data: st.DataObject) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        ground = Ground(folder, make, data.draw(st.sampled_from(["auto", "hardlink", "symlink", "copy"])))
        for piece in ground.pieces:
            for at in places_of(piece):
                ground.lay(piece, data.draw(st.sampled_from(STATES)), at)
        _hold(ground)
    finally:
        shutil.rmtree(folder)


def _hold(ground: Ground) -> None:
    before = ground.state()
    wrong = {
        str(at)
        for piece in ground.pieces
        for at in places_of(piece)
        if os.path.lexists(at) and not _is_right(ground, piece, at)
    }
    if wrong:
        with pytest.raises(Occupied) as caught:
            ground.place()
        assert set(caught.value.paths) == wrong, "all of it is said, and nothing else"
        assert ground.state() == before, "nothing was changed"
        ground.place(Permissions(replace=True))
        assert {event.path for event in ground.events if isinstance(event, MovedAside)} == wrong
    else:
        ground.place()
    after = ground.state()
    for path, was in before.items():
        aside = next((above for above in wrong if path == above or path.startswith(f"{above}/")), "")
        now = after.get(path.replace(aside, f"{aside}.before-preheat", 1) if aside else path)
        assert now == was, path
    assert all(_is_right(ground, piece) for piece in ground.pieces)
    ground.place()
    assert ground.state() == after, "the second time changes nothing"
    assert not [event for event in ground.events if isinstance(event, Reading)], "and hashes nothing"


@pytest.mark.parametrize("make", VIEWS, ids=lambda make: make.kind)
def test_kept_files_stay_until_they_are_to_be_replaced(make: type, folder: Path) -> None:
    ground = Ground(folder, make, "auto")
    piece = next(one for one in ground.pieces if one.file.path == "weights.pt")
    at = piece.pointer or piece.at
    ground.lay(piece, "other of that size")
    mine = _state(at)
    ground.place(Permissions(keep=True))
    assert _state(at) == mine
    assert all(_is_right(ground, one) for one in ground.pieces if (one.pointer or one.at) != at)
    ground.place()
    assert _state(at) == mine, "it is known by now"
    assert not [event for event in ground.events if isinstance(event, Reading)]
    at.write_bytes(b"trained a little more")
    ground.place()
    assert at.read_bytes() == b"trained a little more"
    ground.place(Permissions(replace=True))
    assert _is_right(ground, piece)
    assert at.with_name(f"{at.name}.before-preheat").read_bytes() == b"trained a little more"


@pytest.mark.parametrize("make", VIEWS, ids=lambda make: make.kind)
@pytest.mark.parametrize("way", ["auto", "hardlink", "symlink", "copy"])
def test_files_placed_by_preheat_are_replaced_by_the_next_version(make: type, way: str, folder: Path) -> None:
    ground = Ground(folder, make, way)
    ground.place()
    files = {path: b"new " + body for path, body in MODEL.items()}
    new = keep(folder / "library", files=files, commit=OTHER)
    ground.library.record(new)
    ground.place(snapshot=new)
    ground.snapshot = new
    assert all(_is_right(ground, piece) for piece in ground.pieces)
    # A version removed from the library still counts as placed by preheat.
    for blob in (folder / "library/blobs").rglob("*"):
        if blob.is_file() and not blob.read_bytes().startswith(b"new "):
            blob.unlink()
    shutil.rmtree(folder / "library/seals", ignore_errors=True)


@pytest.mark.parametrize("make", VIEWS, ids=lambda make: make.kind)
@pytest.mark.parametrize("way", ["auto", "hardlink", "symlink", "copy"])
def test_a_view_of_an_earlier_preheat_counts_as_its_own(make: type, way: str, folder: Path) -> None:
    ground = Ground(folder, make, way)
    ground.place()
    shutil.rmtree(folder / "library/placed")  # which preheat did not write
    ground.place()
    if way == "copy" or (way == "auto" and ground.view.edited):
        return  # a copy does not show who made it
    shutil.rmtree(folder / "library/placed", ignore_errors=True)
    new = keep(folder / "library", files={**{p: b"new " + b for p, b in MODEL.items()}, "empty.txt": b""}, commit=OTHER)
    ground.library.record(new)
    ground.place(snapshot=new)


@pytest.mark.parametrize("make", VIEWS, ids=lambda make: make.kind)
@pytest.mark.parametrize("way", ["auto", "symlink", "copy"])
def test_an_edited_file_counts_as_the_users(make: type, way: str, folder: Path) -> None:
    ground = Ground(folder, make, way)
    ground.place()
    piece = next(one for one in ground.pieces if one.file.path == "weights.pt")
    at = piece.pointer or piece.at
    at.unlink()
    at.write_bytes(b"fine-tuned")
    with pytest.raises(Occupied) as caught:
        ground.place()
    assert caught.value.paths == (str(at),)
    assert at.read_bytes() == b"fine-tuned"


def test_an_edit_in_place_does_not_reach_the_library(folder: Path) -> None:
    ground = Ground(folder, Flat, "auto")
    ground.place()
    (ground.at / "config.json").chmod(0o644)
    with open(ground.at / "config.json", "r+b") as file:
        file.write(b"MINE")
    for file_ in ground.snapshot.files:
        assert ground.library.path(file_.digest).read_bytes()[:4] != b"MINE"
    with pytest.raises(Occupied, match="changed since preheat placed it"):
        ground.place()


@pytest.mark.parametrize("make", [HuggingFaceCache, Flat, OldModelScopeCache], ids=lambda make: make.kind)
@pytest.mark.parametrize("when", ["begin", "lay", "note"])
def test_after_a_kill_while_placing_no_file_counts_as_the_users(
    make: type, when: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends before it writes the marks; the next version still recognizes preheat's files."""
    ground = Ground(folder, make, "copy")
    if when != "begin":
        monkeypatch.setattr(ground.library.marks, "note", lambda *_: None)
        if when == "lay":
            monkeypatch.setattr("preheat.views.placer.Placer.write", _killed)
    else:
        monkeypatch.setattr("preheat.views.placer.Placer.put", _killed)
    with contextlib.suppress(KeyboardInterrupt):
        ground.place()
    monkeypatch.undo()
    new = keep(folder / "library", files={path: b"new " + body for path, body in MODEL.items()}, commit=OTHER)
    ground.library.record(new)
    ground.library = Library(folder / "library")
    ground.place(snapshot=new)
    ground.place()
    ground.place(snapshot=new)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_file_in_the_place_of_a_folder_is_moved_aside(folder: Path) -> None:
    ground = Ground(folder, Flat, "auto")
    ground.at.mkdir()
    (ground.at / "voices").write_text("mine")
    with pytest.raises(Occupied) as caught:
        ground.place()
    assert caught.value.paths == (str(ground.at / "voices"),)
    ground.place(Permissions(replace=True))
    assert (ground.at / "voices.before-preheat").read_text() == "mine"


def test_a_second_replacement_gets_another_name(folder: Path) -> None:
    ground = Ground(folder, Flat, "auto")
    ground.place()
    for number in ("first", "second", "third"):
        (ground.at / "weights.pt").unlink()
        (ground.at / "weights.pt").write_text(number)
        ground.place(Permissions(replace=True))
    named = {path.name: path.read_text() for path in ground.at.glob("*.before-preheat*")}
    assert named == {
        "weights.pt.before-preheat": "first",
        "weights.pt.before-preheat.2": "second",
        "weights.pt.before-preheat.3": "third",
    }


def test_placing_works_where_no_marks_can_be_written(folder: Path) -> None:
    ground = Ground(folder, Flat, "copy")
    (folder / "library/placed").write_text("no folder")
    ground.place()
    ground.place()
    assert all(_is_right(ground, piece) for piece in ground.pieces)


def test_the_commit_of_another_ref_in_a_cache_is_the_users(folder: Path) -> None:
    ground = Ground(folder, HuggingFaceCache, "auto")
    ref = ground.at / "models--acme--tiny/refs/main"
    ref.parent.mkdir(parents=True)
    ref.write_text(OTHER)
    with pytest.raises(Occupied) as caught:
        ground.place()
    assert caught.value.paths == (str(ref),)
    ground.place(Permissions(keep=True))
    assert ref.read_text() == OTHER
    ground.place()
    ground.place(Permissions(replace=True))
    assert ref.read_text() == COMMIT
    assert ref.with_name("main.before-preheat").read_text() == OTHER


def test_the_last_placed_of_a_pinned_version_and_a_branch_wins(folder: Path) -> None:
    ground = Ground(folder, ModelScopeCache, "auto")
    pinned = replace(ground.snapshot, ref=ground.snapshot.ref.at(COMMIT))
    new = keep(folder / "library", files={**MODEL, "config.json": b"{}"}, commit=OTHER)
    ground.library.record(new)
    sites = [site_at(one, ground.library, ground.view, ground.at, Permissions()) for one in (pinned, new)]
    for _ in range(2):
        place_sites(sites, ground.library, ground.events.append)
        snapshots = ground.at / "models/acme--tiny/snapshots"
        assert (snapshots / "master/config.json").read_bytes() == b"{}"
        assert (snapshots / COMMIT / "config.json").read_bytes() == MODEL["config.json"]
