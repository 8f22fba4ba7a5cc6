"""Adopt, end to end: caches of other programs become part of the library; nothing is downloaded, changed or lost."""

import hashlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from preheat.core.events import Event, LeftOut
from preheat.core.ref import Ref
from preheat.library.library import Library
from preheat.verbs.upkeep.adopt import Adoption, adopt
from preheat.verbs.upkeep.adopt_plan import plan_adopt
from tests.command import Preheat, Told
from tests.flaky_hub import FlakyHub
from tests.stories.caches import COMMIT, etag, hf_cache, ms_new, ms_old, write
from tests.stories.kept import contents, settled

WEIGHTS, MORE, CONFIG = os.urandom(3_000_000), os.urandom(50_000), b'{"model_type": "tiny"}\n'
FILES = {"model.bin": WEIGHTS, "deep/er/more.bin": MORE, "config.json": CONFIG, "same.json": CONFIG, "empty": b""}


def adopted(preheat: Preheat, *words: str | Path) -> Told:
    told = preheat("adopt", "--json", *map(str, words))
    assert told.status == 0, told.out + told.err
    return told


def adopted_in_part(preheat: Preheat, *words: str | Path) -> Told:
    told = preheat("adopt", "--json", *map(str, words))
    assert (told.status, told.last["kind"]) == (5, "Incomplete"), told.out + told.err
    return told


def left_out(told: Told) -> dict[str, str]:
    return {Path(event["path"]).name: event["reason"] for event in told.events if event["event"] == "left-out"}


def has(preheat: Preheat, ref: str) -> dict[str, bytes]:
    library = Library(preheat.library)
    snapshot = library.find(Ref.parse(ref))
    assert snapshot is not None
    return {file.path: library.path(file.digest).read_bytes() for file in snapshot.files if library.has(file.digest)}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tree", [False, True])
def test_a_hugging_face_cache_is_adopted_by_its_own_digests(
    preheat: Preheat, hub: FlakyHub, *, shared: bool, tree: bool
) -> None:
    cache = preheat.folder / "hub"
    hf_cache(cache, "acme/voice", FILES, shared=shared, tree=tree)
    told = adopted(preheat, cache)
    assert has(preheat, "acme/voice") == has(preheat, f"acme/voice@{COMMIT}") == FILES
    assert (told.last["versions"], told.last["files"], told.last["left_out"]) == (1, 5, 0)
    assert told.last["copied"] == 0
    assert not hub.asked()


def test_adopting_makes_no_second_copy_and_leaves_the_cache_usable(preheat: Preheat) -> None:
    cache = preheat.folder / "hub"
    home = hf_cache(cache, "acme/voice", FILES)
    before, looks = contents(home), settled(home)
    adopted(preheat, cache)
    assert contents(home) == before
    assert settled(home) == looks
    blob = Library(preheat.library).path(Library(preheat.library).require(Ref.parse("acme/voice")).files[2].digest)
    assert blob.stat().st_mode & 0o777 == 0o444
    if blob.stat().st_nlink > 1:
        assert any(path.samefile(blob) for path in home.rglob("*"))


def test_adopting_again_adds_nothing_and_reads_nothing(preheat: Preheat) -> None:
    cache = preheat.folder / "hub"
    hf_cache(cache, "acme/voice", FILES)
    adopted(preheat, cache)
    again = adopted(preheat, cache)
    assert (again.last["new"], again.last["files"]) == (0, 5)
    [event] = [event for event in again.events if event["event"] == "adopted"]
    assert event["links"] == {"here": 5}


def test_after_adopting_a_pull_downloads_nothing(preheat: Preheat, hub: FlakyHub, model: Path) -> None:
    files = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    hf_cache(preheat.folder / "hub", "acme/tiny", files)
    adopted(preheat, preheat.folder / "hub")
    told = preheat("pull", "acme/tiny", "--json")
    assert told.status == 0
    assert told.last["fetched"] == 0
    assert not hub.asked("/resolve/")


def test_a_cache_with_a_file_list_reports_its_missing_files(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", FILES, tree=True)
    (home / "snapshots" / COMMIT / "model.bin").unlink()
    adopted(preheat, preheat.folder / "hub")
    snapshot = Library(preheat.library).find(Ref.parse("acme/voice"))
    assert snapshot is not None
    assert len(snapshot.files) == 5
    assert [file.path for file in Library(preheat.library).missing(snapshot)] == ["model.bin"]


def test_a_cache_copied_without_links_is_adopted_too(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", FILES)
    for pointer in [path for path in (home / "snapshots").rglob("*") if path.is_symlink()]:
        data = pointer.read_bytes()
        pointer.unlink()
        pointer.write_bytes(data)
    adopted(preheat, home)
    assert has(preheat, "acme/voice") == FILES


def test_an_old_cache_does_not_reset_a_branch_pulled_since(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    here = Library(preheat.library).find(Ref.parse("acme/tiny"))
    hf_cache(preheat.folder / "hub", "acme/tiny", FILES)
    adopted(preheat, preheat.folder / "hub")
    assert Library(preheat.library).find(Ref.parse("acme/tiny")) == here
    assert has(preheat, f"acme/tiny@{COMMIT}") == FILES


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "oldest": lambda at: ms_old(at / "hub/iic/Sense.Voice", "iic/Sense.Voice", FILES),
    "old": lambda at: ms_old(at / "models/iic/Sense___Voice", "iic/Sense.Voice", FILES),
    "new": lambda at: ms_new(at, "iic/Sense.Voice", FILES),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_modelscope_caches_of_three_generations_are_adopted(preheat: Preheat, layout: str) -> None:
    cache = preheat.folder / "modelscope"
    LAYOUTS[layout](cache)
    told = adopted(preheat, cache)
    assert has(preheat, "ms:iic/Sense.Voice") == FILES
    assert told.last["left_out"] == 0


def test_incomplete_modelscope_downloads_are_left_out(preheat: Preheat) -> None:
    home = ms_old(preheat.folder / "ms/models/iic/voice", "iic/voice", {"config.json": CONFIG})
    write(home / "model.bin", WEIGHTS)
    new = ms_new(preheat.folder / "ms", "iic/other", {"config.json": CONFIG})
    write(new / "snapshots/master/model.bin.incomplete", WEIGHTS)
    told = adopted_in_part(preheat, preheat.folder / "ms")
    assert set(left_out(told)) == {"model.bin", "model.bin.incomplete"}
    assert has(preheat, "ms:iic/voice") == has(preheat, "ms:iic/other") == {"config.json": CONFIG}


def test_a_malicious_pickle_is_not_run(preheat: Preheat) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(preheat.folder / "evil"),)

    home = ms_old(preheat.folder / "ms/models/iic/voice", "iic/voice", {"config.json": CONFIG})
    (home / ".mdl").write_bytes(pickle.dumps(Evil()))
    adopted(preheat, preheat.folder / "ms")
    assert not (preheat.folder / "evil").exists()
    assert has(preheat, "ms:iic/voice") == {"config.json": CONFIG}


def test_a_plain_folder_is_adopted_as_the_given_model(preheat: Preheat) -> None:
    folder = preheat.folder / "checkpoints"
    for name, data in FILES.items():
        write(folder / name, data)
    note = folder / ".cache/huggingface/download/model.bin.metadata"
    write(note, f"{COMMIT}\n{etag(WEIGHTS, lfs=True)}\n1700000000.0\n".encode())
    assert preheat("adopt", str(folder)).status == 2
    adopted(preheat, folder, "--as", "acme/voice")
    assert has(preheat, f"acme/voice@{COMMIT}") == FILES


def test_a_clone_without_its_large_files_lacks_them_and_one_with_git_lfs_objects_has_them(preheat: Preheat) -> None:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(WEIGHTS)}\n".encode()
    clone = preheat.folder / "clone"
    write(clone / "model.bin", pointer)
    write(clone / "config.json", CONFIG)
    told = adopted_in_part(preheat, clone, "--as", "acme/voice")
    assert "git-lfs pointer to a file of 3.0 MB" in left_out(told)["model.bin"]
    assert has(preheat, "acme/voice") == {"config.json": CONFIG}
    refused = preheat("pull", f"file:{clone}")
    assert refused.status == 3
    assert "git lfs pull" in refused.err
    write(clone / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest, WEIGHTS)
    adopted(preheat, clone, "--as", "acme/whole")
    assert has(preheat, "acme/whole") == {"model.bin": WEIGHTS, "config.json": CONFIG}


def test_a_whisper_checkpoint_that_is_not_what_its_name_says_is_left_out(preheat: Preheat) -> None:
    write(preheat.folder / "whisper/tiny.en.pt", MORE)
    write(preheat.folder / "whisper/mine.pt", MORE)
    told = adopted_in_part(preheat, preheat.folder / "whisper")
    assert "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03" in left_out(told)["tiny.en.pt"]
    assert left_out(told)["mine.pt"] == "it is not an openai-whisper checkpoint"
    assert told.last["versions"] == 0


# ---- invalid cache entries


def test_a_file_with_a_wrong_digest_is_left_out_and_the_rest_adopted(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", FILES)
    rotten = home / "blobs" / etag(WEIGHTS, lfs=True)
    rotten.write_bytes(WEIGHTS[:-1] + b"?")
    told = adopted_in_part(preheat, preheat.folder / "hub")
    assert set(left_out(told)) == {rotten.name}
    assert rotten.stat().st_mode & 0o777 == 0o644
    assert rotten.stat().st_nlink == 1
    assert set(has(preheat, "acme/voice")) == FILES.keys() - {"model.bin"}
    assert not list((preheat.library / "partial").iterdir())


def test_broken_links_loops_and_links_out_of_the_cache_are_left_out(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": CONFIG})
    secret = write(preheat.folder / "secret", b"mine")
    snapshot = home / "snapshots" / COMMIT
    (snapshot / "dangling").symlink_to("../../blobs/" + "0" * 64)
    (snapshot / "loop").symlink_to("loop2")
    (snapshot / "loop2").symlink_to("loop")
    (snapshot / "out").symlink_to(secret)
    (snapshot / "folder").symlink_to("/etc")
    os.mkfifo(snapshot / "pipe")
    told = adopted_in_part(preheat, preheat.folder / "hub")
    reasons = left_out(told)
    assert reasons["dangling"] == "it is a broken symlink"
    assert reasons["loop"] == reasons["loop2"] == "it is a symlink loop"
    assert "a symlink that points outside" in reasons["out"]
    assert "a symlink that points outside" in reasons["folder"]
    assert reasons["pipe"] == "it is not a regular file"
    assert secret.stat().st_nlink == 1
    assert has(preheat, "acme/voice") == {"config.json": CONFIG}


def test_incomplete_downloads_and_invalid_commits_are_left_out(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": CONFIG})
    write(home / "blobs" / f"{'1' * 64}.0a1b2c3d.incomplete", b"half")
    write(home / "refs" / "broken", b"not a commit")
    write(home / "snapshots" / "main" / "config.json", CONFIG)
    (preheat.folder / "hub/models--bad name").mkdir()
    told = adopted_in_part(preheat, preheat.folder / "hub")
    assert {"broken", "main", f"{'1' * 64}.0a1b2c3d.incomplete"} == set(left_out(told))


@pytest.mark.parametrize("name", ["a\\b", "line\nfeed", b"\xff\xfe".decode(errors="surrogateescape")])
def test_invalid_names_are_left_out_and_do_no_harm(preheat: Preheat, name: str) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": CONFIG})
    (home / "snapshots" / COMMIT / name).symlink_to("config.json")
    told = adopted_in_part(preheat, preheat.folder / "hub")
    assert list(left_out(told).values()) == ["its name is invalid for a file in a repository"]
    assert has(preheat, "acme/voice") == {"config.json": CONFIG}


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder that every user can reach, with a writable subfolder; only root can run these tests."""
    if os.getuid():
        pytest.skip("only root can be somebody else")
    folder = Path(tempfile.mkdtemp(prefix="preheat-test-"))
    folder.chmod(0o755)
    (folder / "theirs").mkdir()
    (folder / "theirs").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def adopted_by_nobody(cache: Path, library: Path, *, copy: bool) -> tuple[Adoption, list[LeftOut]]:
    events: list[Event] = []
    os.seteuid(65534)
    try:
        kept = Library(library)
        adoption = adopt(plan_adopt([cache], kept, copy=copy), kept, events.append)
    finally:
        os.seteuid(0)
    return adoption, [event for event in events if isinstance(event, LeftOut)]


def test_an_unreadable_file_is_left_out(elsewhere: Path) -> None:
    home = hf_cache(elsewhere / "hub", "acme/voice", FILES)
    blob = home / "blobs" / etag(WEIGHTS, lfs=True)
    blob.chmod(0o600)
    adoption, left = adopted_by_nobody(home, elsewhere / "theirs", copy=True)
    assert [(one.path, one.reason.partition(" (")[0]) for one in left] == [
        (str(blob), "it cannot be adopted: permission denied")
    ]
    assert adoption.files == 4


def test_another_users_files_are_copied_if_requested_and_never_made_read_only(elsewhere: Path) -> None:
    home = hf_cache(elsewhere / "hub", "acme/voice", FILES)
    adopted_by_nobody(home, elsewhere / "theirs", copy=False)
    assert {path.stat().st_mode & 0o777 for path in (home / "blobs").iterdir()} == {0o644}
    adoption, left = adopted_by_nobody(home, elsewhere / "theirs", copy=True)
    assert (adoption.files, left) == (5, [])
    assert {path.stat().st_mode & 0o777 for path in (home / "blobs").iterdir()} == {0o644}


def test_a_folder_that_is_no_cache_is_an_error_and_unchanged(preheat: Preheat) -> None:
    (preheat.folder / "photos").mkdir()
    told = preheat("adopt", str(preheat.folder / "photos"))
    assert told.status == 2
    assert "--as" in told.err
    assert preheat("adopt", str(preheat.folder / "nowhere")).status == 2


def test_a_cache_without_files_is_an_error(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", {})
    (home / "snapshots" / COMMIT).mkdir(parents=True)
    told = preheat("adopt", str(preheat.folder / "hub"))
    assert told.status == 5
    assert "has no files to adopt" in told.err


def test_the_error_names_left_out_files_with_the_reason(preheat: Preheat) -> None:
    home = hf_cache(preheat.folder / "hub", "acme/voice", {"config.json": CONFIG})
    (home / "snapshots" / COMMIT / "dangling").symlink_to("../../blobs/" + "0" * 64)
    told = preheat("adopt", str(preheat.folder / "hub"))
    assert told.status == 5
    assert "1 left out" in told.err
    assert "dangling: it is a broken symlink" in told.err.replace("\n", "")
    assert has(preheat, "acme/voice") == {"config.json": CONFIG}
