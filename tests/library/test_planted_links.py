"""Files and links that another member of a group planted in a library are not followed or continued."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from preheat.core.digest import sha256
from preheat.core.errors import LibraryError
from preheat.core.placement import OURS, StatFields
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.guard.status.start_times import History
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.journal import Journal
from preheat.library.blobs.ranges import ByteRange
from preheat.library.library import Library
from preheat.library.records.placement_log import PlacementLog
from preheat.library.records.seals import Seals
from preheat.library.records.unread_files import UnreadFiles

SOMEBODY = 61001
FILE = File("a", 4, sha256("88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"))  # abcd
PART = f"partial/sha256-{FILE.digest.hex}"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SNAPSHOT = Snapshot(Ref.parse("acme/voice"), COMMIT, (FILE,))
RECORDS = "records/hf/models--acme--voice"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = Library(tmp_path / "library")
    library.prepare(0)
    return library


def plant(at: Path, target: Path) -> None:
    """Create a symlink, as another user if possible."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.unlink(missing_ok=True)
    at.symlink_to(target)
    if os.geteuid() == 0:
        os.lchown(at, SOMEBODY, SOMEBODY)


def download(library: Library) -> None:
    partial = library.begin(FILE)
    assert partial is not None
    partial.write(0, memoryview(b"abcd"))
    library.keep(partial)


def seal_twice(library: Library) -> None:
    seals = Seals(library.root / "seals")
    seals.note(FILE.digest, library.root / "format")
    for log in (library.root / "seals").iterdir():
        plant(log, library.root.parent / "precious")
    seals.note(FILE.digest, library.root / "format")


def mark_twice(library: Library) -> None:
    marks = PlacementLog(library.root / "placed")
    marks.note(OURS, [("/x", FILE.digest, StatFields())])
    for log in (library.root / "placed").iterdir():
        plant(log, library.root.parent / "precious")
    marks.note(OURS, [("/x", FILE.digest, StatFields())])


# A path where a symlink is planted, and a function that writes there.
WRITERS: dict[str, tuple[str, Callable[[Library], object]]] = {
    "partial": (f"{PART}.part", download),
    "journal": (
        f"{PART}.journal.new",
        lambda library: Journal(library.root / f"{PART}.journal", 4, "boot").wrote(ByteRange(0, 4)),
    ),
    "record": (f"{RECORDS}/{COMMIT}.json", lambda library: library.record(SNAPSHOT)),
    "ref": (f"{RECORDS}/refs/main", lambda library: library.record(SNAPSHOT)),
    "pin": (f"pins/hf/models--acme--voice/{COMMIT}", lambda library: library.pins.add(SNAPSHOT)),
    "unread": (
        f"unread/hf/models--acme--voice/{COMMIT}",
        lambda library: UnreadFiles(library.root).note(SNAPSHOT.ref, COMMIT, SNAPSHOT.files),
    ),
    "format": ("format", lambda library: library.prepare(0)),
    "starts": ("starts/.app.new", lambda library: History(str(library.root / "starts/app")).add(1.0)),
    "seals": ("seals/0.log", seal_twice),
    "marks": ("placed/0.log", mark_twice),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_planted_symlink_is_not_written_through(library: Library, name: str) -> None:
    precious = library.root.parent / "precious"
    precious.write_text("mine")
    at, write = WRITERS[name]
    plant(library.root / at, precious)
    with contextlib.suppress(LibraryError):
        write(library)
    assert precious.read_text() == "mine"
    assert precious.stat().st_mode & 0o777 == 0o644


@needs_root
@pytest.mark.parametrize("name", ["record", "ref"])
def test_a_planted_symlink_is_not_read_through(library: Library, name: str) -> None:
    library.record(SNAPSHOT)
    at = library.root / WRITERS[name][0]
    at.rename(library.root / "elsewhere")
    plant(at, library.root / "elsewhere")
    with pytest.raises(LibraryError, match="cannot be read: a symlink of another user"):
        Library(library.root).find(SNAPSHOT.ref)
    os.lchown(at, 0, 0)
    assert Library(library.root).find(SNAPSHOT.ref) == SNAPSHOT


@needs_root
@pytest.mark.parametrize("name", ["blobs", "records", "partial", "seals", "views"])
def test_a_folder_of_the_library_that_is_another_users_symlink_is_rejected(library: Library, name: str) -> None:
    (library.root.parent / "private").mkdir()
    if name == "partial":
        (library.root / name).rmdir()
    plant(library.root / name, library.root.parent / "private")
    with pytest.raises(LibraryError, match=f"{name} is a symlink that user {SOMEBODY} made") as refused:
        Library(library.root)
    assert refused.value.hint
    os.lchown(library.root / name, 0, 0)
    assert Library(library.root).find(SNAPSHOT.ref) is None, "the user's own symlinks, for example to a larger disk"


@needs_root
@pytest.mark.parametrize("folder", [f"blobs/sha256/{FILE.digest.hex[:2]}", RECORDS, f"{RECORDS}/refs"])
def test_a_deeper_folder_of_the_library_is_not_written_through(library: Library, folder: str) -> None:
    private = library.root.parent / "private"
    private.mkdir()
    plant(library.root / folder, private)

    def pull() -> None:
        download(library)
        library.record(SNAPSHOT)

    with pytest.raises(LibraryError, match="symlink"):
        pull()
    assert list(private.iterdir()) == []


@needs_root
@pytest.mark.parametrize("mode", [0o666, 0o644])
def test_a_partial_of_another_user_is_replaced_because_its_owner_may_still_write(library: Library, mode: int) -> None:
    path = library.root / f"{PART}.part"
    path.write_bytes(b"EVIL")
    path.chmod(mode)
    os.chown(path, SOMEBODY, SOMEBODY)
    theirs = os.open(path, os.O_RDWR)
    download(library)
    os.write(theirs, b"EVIL")
    os.close(theirs)
    blob = library.path(FILE.digest)
    assert (blob.read_bytes(), blob.stat().st_uid) == (b"abcd", 0)


@needs_root
def test_a_partial_that_another_user_is_downloading_is_left_alone(library: Library) -> None:
    path = library.root / f"{PART}.part"
    theirs = take(path)
    assert theirs is not None
    os.fchown(theirs, SOMEBODY, SOMEBODY)
    assert take(path) is None
    os.close(theirs)


def test_a_fifo_is_not_used_as_a_partial(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="regular"):
        take(tmp_path / "fifo")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_fifo_in_place_of_the_start_times_does_not_block(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "app")
    history = History(str(tmp_path / "app"))
    assert history.earlier_s == ()
    history.add(2.0)


def test_only_plausible_times_of_earlier_starts_are_used(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("1.5\nnan\ninf\n-3\n1e300\n2.5\n")
    assert History(str(tmp_path / "app")).earlier_s == (1.5, 2.5)


@needs_root
def test_a_claim_of_another_user_does_not_choose_where_leftovers_are_removed(library: Library, tmp_path: Path) -> None:
    claims = library.root / "claims"
    claims.mkdir()
    for name in ("own", "theirs"):
        (claims / f"{name}.json").write_text(
            json.dumps({"by": "pull", "machine": "", "digests": [], "at": str(tmp_path / name)})
        )
        os.utime(claims / f"{name}.json", (0, 0))
    os.chown(claims / "theirs.json", SOMEBODY, SOMEBODY)
    assert library.claims.abandoned() == [tmp_path / "own"]
