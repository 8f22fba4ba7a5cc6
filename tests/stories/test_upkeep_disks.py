"""Upkeep on unusual disks: without links, full, or different from the cache's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.library.library import Library
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.caches import etag, hf_cache, write
from tests.stories.disk import disk
from tests.stories.kept import contents

WEIGHTS, CONFIG = os.urandom(3_000_000), b"{}"
FILES = {"model.bin": WEIGHTS, "config.json": CONFIG}


@contextmanager
def image(at: Path, size: int, *make: str, mount: tuple[str, ...] = ("mount",)) -> Iterator[Path]:
    """Mount a separate filesystem in a file; skip the test if that is not permitted."""
    if os.getuid() or not all(shutil.which(program) for program in (make[0], mount[0], "losetup")):
        pytest.skip(f"{make[0]}, {mount[0]} and a right to mount are needed")
    file = at.with_suffix(".img")
    with open(file, "wb") as empty:
        empty.truncate(size)
    subprocess.run([*make, str(file)], check=True, capture_output=True)
    at.mkdir()
    found = subprocess.run(["losetup", "-f", "--show", str(file)], check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"there is no loop device here: {found.stderr.strip()}")
    device = found.stdout.strip()
    try:
        mounted = subprocess.run([*mount, device, str(at)], check=False, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"it cannot be mounted here: {mounted.stderr.strip()}")
        yield at
        subprocess.run(["umount", str(at)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(at)], check=False, capture_output=True)
        subprocess.run(["losetup", "-d", device], check=True)


# Two filesystems without links, in which names differ by more than their case; each kernel has another.
LINKLESS = pytest.mark.parametrize(
    ("make", "mount"), [(("mkfs.vfat",), ("mount", "-t", "vfat")), (("mkfs.exfat",), ("mount.exfat-fuse",))]
)


def test_files_of_another_filesystem_are_adopted_only_as_copies(preheat: Preheat) -> None:
    with disk(preheat.folder / "other", "size=50m") as other:
        hf_cache(other.path / "hub", "acme/voice", FILES)
        words = ("adopt", f"{other.mounted}/hub", "--library", str(preheat.library), "--json")
        told = preheat(*words, inside=other.inside)
        assert told.status == 5, told.err
        reasons = {event["reason"] for event in told.events if event["event"] == "left-out"}
        assert reasons == {"it is on another filesystem (--copy)"}
        assert (told.last["kind"], told.last["files"], told.last["left_out"]) == ("Incomplete", 0, 2)
        told = preheat(*words, "--copy", inside=other.inside)
        assert (told.last["files"], told.last["copied"]) == (2, len(WEIGHTS) + len(CONFIG))
    library = Library(preheat.library)
    snapshot = library.require(Ref.parse("acme/voice"))
    assert {file.path: library.path(file.digest).read_bytes() for file in snapshot.files} == FILES


def test_too_little_space_for_the_copies_is_reported_before_the_first_byte(preheat: Preheat) -> None:
    hf_cache(preheat.folder / "hub", "acme/voice", {**FILES, "more.bin": os.urandom(90_000_000)})
    before = contents(preheat.folder / "hub")
    with disk(preheat.folder / "small", "size=80m") as small:
        words = ("adopt", str(preheat.folder / "hub"), "--library", f"{small.mounted}/library", "--copy")
        for more in ((), ("--dry-run",)):
            told = preheat(*words, *more, inside=small.inside)
            assert told.status == 5, told.err
            assert "needs 93.0 MB" in told.err
        assert not (small.path / "library").exists()
    assert contents(preheat.folder / "hub") == before


def test_a_disk_that_becomes_full_while_adopting_is_reported_and_loses_nothing(preheat: Preheat) -> None:
    many = {f"voice-{number}.bin": os.urandom(20_000) for number in range(40)}
    hf_cache(preheat.folder / "hub", "acme/voice", many)
    before = contents(preheat.folder / "hub")
    with disk(preheat.folder / "small", "size=80m,nr_inodes=60") as small:
        words = ("adopt", str(preheat.folder / "hub"), "--library", f"{small.mounted}/library", "--copy")
        told = preheat(*words, inside=small.inside)
        assert told.status == 5, told.err
        assert "no space left" in told.err
        assert not [path for path in (small.path / "library").rglob("*.new") if path.is_file()]
        assert preheat("verify", "--library", f"{small.mounted}/library", inside=small.inside).status == 0
    assert contents(preheat.folder / "hub") == before


def test_a_full_disk_can_be_pruned(preheat: Preheat, hub: FlakyHub) -> None:
    with disk(preheat.folder / "small", "size=100m") as small:
        library = ("--library", f"{small.mounted}/library")
        assert preheat("pull", "acme/tiny", *library, inside=small.inside).status == 0
        with open(small.path / "filler", "wb") as filler, pytest.raises(OSError):  # noqa: PT012 - until it is full
            while True:
                filler.write(bytes(1 << 16))
                filler.flush()
        told = preheat("rm", "acme/tiny", "--yes", "--json", *library, inside=small.inside)
        assert told.status == 0, told.out + told.err
        assert told.last["size"] >= 12_000_000


@LINKLESS
def test_a_library_works_on_a_filesystem_without_links(
    preheat: Preheat, hub: FlakyHub, make: tuple[str, ...], mount: tuple[str, ...]
) -> None:
    with image(preheat.folder / "stick", 120_000_000, *make, mount=mount) as stick:
        library = ("--library", str(stick / "library"))
        told = preheat("pull", "acme/tiny", *library)
        assert told.status == 0, told.err
        assert preheat("verify", *library).status == 0
        assert preheat("ls", *library, "--json").last["versions"][0]["missing"] == 0
        assert preheat("rm", "acme/tiny", "--yes", *library).status == 0


@LINKLESS
def test_a_cache_on_a_filesystem_without_links_is_adopted_by_copies(
    preheat: Preheat, make: tuple[str, ...], mount: tuple[str, ...]
) -> None:
    with image(preheat.folder / "stick", 120_000_000, *make, mount=mount) as stick:
        snapshot = stick / "hub/models--acme--voice/snapshots" / ("01" * 20)
        snapshot.mkdir(parents=True)
        for name, data in FILES.items():
            (snapshot / name).write_bytes(data)
        told = preheat("adopt", str(stick / "hub"), "--json")
        assert (told.status, told.last["left_out"]) == (5, 2)
        for library in (preheat.library, stick / "library"):
            words = ("adopt", str(stick / "hub"), "--copy", "--json", "--library", str(library))
            told = preheat(*words)
            assert told.status == 0, told.out
            assert told.last["files"] == 2
            assert preheat(*words).last["new"] == 0
            assert preheat("verify", "--library", str(library)).status == 0


def test_a_reflink_protects_the_library_from_later_writes(preheat: Preheat) -> None:
    with image(preheat.folder / "disk", 400_000_000, "mkfs.xfs", "-q", "-m", "reflink=1") as at:
        home = hf_cache(at / "hub", "acme/voice", FILES)
        told = preheat("adopt", str(at / "hub"), "--library", str(at / "library"), "--json")
        assert told.status == 0, told.out
        [event] = [event for event in told.events if event["event"] == "adopted"]
        assert event["links"] == {"reflink": 2}
        blob = home / "blobs" / etag(WEIGHTS, lfs=True)
        assert blob.stat().st_mode & 0o777 == 0o644
        blob.write_bytes(b"overwritten")
        assert preheat("verify", "--library", str(at / "library")).status == 0


@LINKLESS
@pytest.mark.parametrize("kind", ["local-dir", "flat", "hf-cache"])
def test_files_that_differ_only_by_case_are_named_before_the_first_byte(
    tmp_path: Path, make: tuple[str, ...], mount: tuple[str, ...], kind: str
) -> None:
    model = tmp_path / "cased"
    for name, data in {
        "Vocab.txt": b"one",
        "vocab.txt": b"two",
        "model.bin": WEIGHTS,
        "A/x": b"3",
        "a/y": b"4",
    }.items():
        write(model / name, data)
    with FlakyHub({"acme/cased": model}) as hub, image(tmp_path / "stick", 300_000_000, *make, mount=mount) as stick:
        preheat = Preheat(tmp_path, hub.url)
        (stick / "Models").mkdir()
        view = f"{kind}={stick}/Models/one"
        for words in ((), ("--dry-run",)):
            told = preheat("pull", "acme/cased", "--view", view, "--json", *words)
            assert told.status == 5, told.out
            message = told.last["message"]
            assert "Vocab.txt and vocab.txt have the same name on the case-insensitive filesystem" in message
        assert hub.sent("resolve.*bin") == 0
        told = preheat("pull", "acme/cased", "--view", view, "--files", "!vocab.txt")
        assert told.status == 0, told.err
        placed = [path for path in (stick / "Models/one").rglob("*") if path.name.casefold() == "vocab.txt"]
        assert [path.read_bytes() for path in placed] == [b"one"]
        # In an empty folder of a filesystem of an unknown type, the files are found to be one when they are placed.
        told = preheat("pull", "acme/cased", "--json")
        assert told.status == 0, told.err
        assert preheat("view", kind, str(stick / "two"), "acme/cased").status == 5
        preheat.close()
