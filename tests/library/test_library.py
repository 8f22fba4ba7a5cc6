"""The library has only complete and verified blobs, and finds what it has recorded."""

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from preheat.core.digest import Digest, git_sha1, hasher, sha256
from preheat.core.errors import Busy, IntegrityError, LibraryError, NoSpace, NotPreloaded
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.blobs.ranges import ByteRange
from preheat.library.library import Library
from tests.growth.counting import named_calls_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = b"a small file\n"
LARGE = os.urandom(3 << 20)


def small(data: bytes = SMALL, path: str = "config.json") -> File:
    naming = hasher("git-sha1", len(data))
    naming.update(data)
    return File(path, len(data), git_sha1(naming.hexdigest()))


def large(data: bytes = LARGE, path: str = "model.bin") -> File:
    return File(path, len(data), sha256(hashlib.sha256(data).hexdigest()))


def kept(library: Library, file: File, data: bytes) -> None:
    library.prepare(len(data))
    partial = library.begin(file)
    assert partial is not None
    partial.write(0, memoryview(data))
    library.keep(partial)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def test_a_blob_is_read_only_and_has_the_same_bytes(library: Library) -> None:
    kept(library, large(), LARGE)
    path = library.path(large().digest)
    assert path.read_bytes() == LARGE
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_files_that_another_pull_has_stored_are_not_opened_again(library: Library) -> None:
    """Several pulls of one repository meet at each of its files, so checking a stored file must be cheap."""
    files = {small(data): data for data in (b"%d" % number for number in range(20))}
    for file, data in files.items():
        kept(library, file, data)
    calls = named_calls_of(lambda: [library.begin(file) for file in files])
    assert calls["stat"] == len(files)
    assert calls["open"] == calls["flock"] == calls["unlink"] == 0


def test_a_small_blob_has_both_digests_and_is_stored_once(library: Library) -> None:
    kept(library, small(), SMALL)
    other = library.path(sha256(hashlib.sha256(SMALL).hexdigest()))
    assert other.samefile(library.path(small().digest))


def test_wrong_bytes_never_get_a_name_and_leave_no_file(library: Library) -> None:
    library.prepare(0)
    partial = library.begin(large())
    assert partial is not None
    partial.write(0, memoryview(bytes(len(LARGE))))
    with pytest.raises(IntegrityError, match=r"model\.bin arrived as sha256:"):
        library.keep(partial)
    assert partial.gaps == []
    partial.discard()
    assert not library.has(large().digest)
    assert not [
        path
        for path in library.root.rglob("*")
        if path.is_file() and path.name not in ("format",) and path.suffix != ".lock"
    ]


def test_wrong_bytes_can_be_requested_again_and_the_rest_stays(library: Library) -> None:
    library.prepare(0)
    partial = library.begin(large())
    assert partial is not None
    partial.write(0, memoryview(LARGE)[: 2 << 20])
    partial.write(2 << 20, memoryview(bytes(1 << 20)))
    with pytest.raises(IntegrityError):
        library.keep(partial)
    partial.forget([ByteRange(2 << 20, 3 << 20)])
    assert partial.gaps == [ByteRange(2 << 20, 3 << 20)]
    partial.close()
    again = library.begin(large())
    assert again is not None
    assert again.gaps == [ByteRange(2 << 20, 3 << 20)]
    again.write(2 << 20, memoryview(LARGE)[2 << 20 :])
    library.keep(again)
    assert library.path(large().digest).read_bytes() == LARGE


def test_received_bytes_are_kept_after_closing(library: Library) -> None:
    library.prepare(0)
    first = library.begin(large())
    assert first is not None
    first.write(1 << 20, memoryview(LARGE)[1 << 20 : 2 << 20])
    first.close()
    again = library.begin(large())
    assert again is not None
    assert again.gaps == [ByteRange(0, 1 << 20), ByteRange(2 << 20, 3 << 20)]
    again.write(0, memoryview(LARGE)[: 1 << 20])
    again.write(2 << 20, memoryview(LARGE)[2 << 20 :])
    library.keep(again)
    assert library.path(large().digest).read_bytes() == LARGE


def test_a_partial_of_the_wrong_length_is_started_over(library: Library) -> None:
    library.prepare(0)
    first = library.begin(large())
    assert first is not None
    first.write(0, memoryview(LARGE)[: 1 << 20])
    first.close()
    part = next((library.root / "partial").glob("*.part"))
    os.truncate(part, 100)
    again = library.begin(large())
    assert again is not None
    assert again.gaps == [ByteRange(0, len(LARGE))]
    again.close()


def test_only_one_process_at_a_time_can_download_a_file(library: Library) -> None:
    library.prepare(0)
    first = library.begin(large())
    assert first is not None
    with pytest.raises(Busy):
        library.begin(large())
    first.write(0, memoryview(LARGE))
    library.keep(first)
    assert library.begin(large()) is None


def test_an_empty_file_is_stored_like_any_other(library: Library) -> None:
    kept(library, small(b""), b"")
    assert library.has(small(b"").digest)


def test_a_record_returns_the_snapshot_by_branch_and_by_commit(library: Library) -> None:
    snapshot = Snapshot(Ref.parse("me/voice"), COMMIT, (small(), large()))
    library.record(snapshot)
    assert library.find(Ref.parse("me/voice")) == snapshot
    pinned = library.find(Ref.parse(f"me/voice@{COMMIT}"))
    assert pinned is not None
    assert pinned.files == snapshot.files
    assert library.find(Ref.parse("me/voice@other")) is None
    assert library.find(Ref.parse("me/voices")) is None
    assert library.revisions(snapshot.ref) == {"main": COMMIT}


def test_a_branch_with_a_slash_is_found_again(library: Library) -> None:
    snapshot = Snapshot(Ref.parse("me/voice@refs/pr/1"), COMMIT, (small(),))
    library.record(snapshot)
    assert library.find(snapshot.ref) == snapshot


def test_the_error_for_a_missing_model_contains_the_pull_command(library: Library) -> None:
    with pytest.raises(NotPreloaded) as nothing:
        library.require(Ref.parse("me/voice"))
    assert nothing.value.hint == "preheat pull hf:me/voice"
    library.record(Snapshot(Ref.parse("me/voice"), COMMIT, (small(), large())))
    kept(library, small(), SMALL)
    with pytest.raises(NotPreloaded, match=r"missing model\.bin"):
        library.require(Ref.parse("me/voice"))
    assert library.require(Ref.parse("me/voice"), ["*.json"]).files == (small(),)


def test_a_disk_that_is_too_small_is_reported_before_the_first_byte(library: Library) -> None:
    with pytest.raises(NoSpace):
        library.prepare(1 << 60)


def test_a_library_of_another_format_is_not_changed(library: Library) -> None:
    library.prepare(0)
    (library.root / "format").write_text("2\n")
    with pytest.raises(LibraryError, match="format '2'"):
        Library(library.root)


def test_a_damaged_record_is_an_error_and_not_an_empty_model(library: Library) -> None:
    library.record(Snapshot(Ref.parse("me/voice"), COMMIT, (small(),)))
    path = next(library.root.rglob(f"{COMMIT}.json"))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(LibraryError, match="is not a record"):
        library.find(Ref.parse("me/voice"))


def test_an_invalid_digest_is_rejected() -> None:
    with pytest.raises(Exception, match="not a digest"):
        Digest.parse("sha256:zz")


def test_two_folders_with_the_same_slug_are_not_confused(library: Library) -> None:
    one, other = Ref.parse("file:/models/a/b"), Ref.parse("file:/models/a--b")
    assert one.slug == other.slug
    library.record(Snapshot(other, "3" * 40, ()))
    assert library.find(other) is not None
    assert library.find(one) is None


def test_a_sealed_partial_of_a_killed_process_is_resumed_by_any_user() -> None:
    code = """
import os, sys
from preheat.library.blobs.file_lock import take
path = sys.argv[1]
if os.geteuid() == 0:
    os.setgid(65534), os.setuid(65534)
first = take(path)
os.fchmod(first, 0o444)
assert take(path) is None, "another has it"
os.close(first)
assert take(path) is not None
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        done = subprocess.run([sys.executable, "-c", code, f"{folder}/x.part"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
