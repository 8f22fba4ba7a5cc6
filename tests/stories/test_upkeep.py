"""Upkeep, end to end: disk usage and sharing, removal and protection, while other commands pull and run."""

import os
import time
from pathlib import Path

import pytest

from preheat.library.library import Library
from preheat.mirror.http.messages import Answer, Request
from tests.command import Preheat
from tests.flaky_hub import FlakyHub
from tests.stories.kept import blobs, contents, settled


def version(folder: Path, name: str, **files: bytes) -> str:
    """Make a folder of files; return its ref."""
    home = folder / name
    home.mkdir()
    for path, data in files.items():
        (home / path.replace("_", ".")).write_bytes(data)
    return f"file:{home}"


@pytest.fixture
def voices(preheat: Preheat) -> tuple[str, str]:
    """Pull two versions of a model that share their weights."""
    weights = os.urandom(2_000_000)
    old = version(preheat.folder, "voice-1", model_bin=weights, config_json=b"{}", note_txt=b"old " * 1000)
    new = version(preheat.folder, "voice-2", model_bin=weights, config_json=b'{"v": 2}', extra_bin=os.urandom(500_000))
    assert preheat("pull", old, new).status == 0
    return old, new


def whole(library: Path) -> bool:
    kept = Library(library)
    return not any(kept.missing(snapshot) for snapshot in kept.snapshots())


def test_ls_shows_the_size_and_the_shared_bytes_of_each_version(preheat: Preheat, voices: tuple[str, str]) -> None:
    told = preheat("ls", "--json")
    costs = {one["ref"]: (one["size"], one["own"], one["shared"]) for one in told.last["versions"]}
    assert costs[voices[0]] == (2_004_002, 4_002, 2_000_000)
    assert costs[voices[1]] == (2_500_008, 500_008, 2_000_000)
    assert told.last["stored"] == 2_504_010
    people = preheat("ls").out
    assert "voice-1" in people
    assert "2.5 MB on disk; 2.0 MB saved by sharing" in people
    assert preheat("ls", voices[0], "--json").last["versions"] == [
        one for one in told.last["versions"] if one["ref"] == voices[0]
    ]


def test_ls_of_an_empty_library_is_no_error(preheat: Preheat) -> None:
    assert preheat("ls").out == "the library is empty\n"


def test_show_lists_the_versions_that_share_a_file(preheat: Preheat, voices: tuple[str, str]) -> None:
    files = {one["path"]: one["shared_with"] for one in preheat("show", voices[0], "--json").last["files"]}
    assert files == {"model.bin": [voices[1]], "config.json": [], "note.txt": []}
    assert "model.bin  also in file:" in preheat("show", voices[0]).out


def test_a_missing_version_cannot_be_shown_pinned_or_removed(preheat: Preheat) -> None:
    for verb in ("show", "pin", "unpin", "rm"):
        told = preheat(verb, "acme/nothing")
        assert told.status == 5
        assert "preheat ls" in told.err


def test_rm_first_reports_and_then_frees_the_bytes_of_one_version_only(
    preheat: Preheat, voices: tuple[str, str]
) -> None:
    before = settled(preheat.library)
    plan = preheat("rm", voices[1], "--json").last
    assert settled(preheat.library) == before
    assert 500_008 <= plan["size"] <= 520_000
    assert preheat("rm", voices[1], "--yes", "--json").last["size"] == plan["size"]
    assert [one["ref"] for one in preheat("ls", "--json").last["versions"]] == [voices[0]]
    assert whole(preheat.library)
    assert sum(map(len, set(blobs(preheat.library).values()))) == 2_004_002


def test_a_pinned_version_is_not_removed(preheat: Preheat, voices: tuple[str, str]) -> None:
    assert preheat("pin", voices[0]).status == 0
    told = preheat("rm", *voices, "--yes")
    assert told.status == 5
    assert "is pinned" in told.err
    assert len(preheat("ls", "--json").last["versions"]) == 2
    assert preheat("unpin", voices[0]).status == 0
    assert preheat("rm", *voices, "--yes").status == 0
    assert not blobs(preheat.library)


def test_prune_removes_old_versions_only_if_requested_and_never_pinned_ones(
    preheat: Preheat, voices: tuple[str, str]
) -> None:
    folder = Path(voices[1].removeprefix("file:"))
    commits = []
    for step in range(3):
        commits.append(preheat("show", voices[1], "--json").last["commit"])
        if step == 1:
            assert preheat("pin", voices[1]).status == 0
        (folder / "extra.bin").write_bytes(os.urandom(100_000))
        assert preheat("pull", voices[1]).status == 0
    assert preheat("prune", "--younger", "0s", "--json").last["blobs"] == 0
    plan = preheat("prune", "--old", "--younger", "0s", "--json").last
    assert (len(plan["versions"]), plan["done"]) == (2, False)
    assert preheat("prune", "--old", "--younger", "0s", "--yes").status == 0
    left = {one["commit"]: one["pinned"] for one in preheat("ls", voices[1], "--json").last["versions"]}
    assert left == {commits[1]: True, preheat("show", voices[1], "--json").last["commit"]: False}
    assert whole(preheat.library)


def test_prune_keeps_new_files(preheat: Preheat, voices: tuple[str, str]) -> None:
    stray = preheat.library / "blobs/sha256/00"
    stray.mkdir(parents=True)
    (stray / ("00" * 32)).write_bytes(b"stray")
    assert preheat("prune", "--json").last["blobs"] == 0
    assert preheat("prune", "--younger", "0s", "--json").last["blobs"] == 1
    assert (stray / ("00" * 32)).exists()


def test_concurrent_prunes_removals_and_pulls_lose_nothing(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    for _ in range(4):
        # Its blobs lose their record, and another version needs them again.
        others = [
            preheat.start("rm", "acme/tiny", "--yes"),
            preheat.start("pull", "hf:datasets/acme/rows", "--json"),
            preheat.start("prune", "--younger", "0s", "--yes"),
            preheat.start("prune", "--younger", "0s", "--old", "--yes"),
        ]
        assert [one.ended().status for one in others] == [0] * 4, [one.err for one in others]
        assert whole(preheat.library)
        assert preheat("pull", "acme/tiny").status == 0
        assert preheat("rm", "hf:datasets/acme/rows", "--yes").status == 0
        assert whole(preheat.library)
    assert preheat("verify").status == 0
    assert not list((preheat.library / "trash").iterdir())
    assert not list((preheat.library / "claims").iterdir())


def test_a_running_pull_keeps_the_files_that_it_found(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny", "--files", "voices/*").status == 0
    hub.fails(r"/resolve/.*/model\.safetensors$", slow, times=1)
    pulling = preheat.start("pull", "hf:datasets/acme/rows", "--json")
    pulling.event("resolved")
    assert preheat("rm", "acme/tiny", "--yes", "--json").last["size"] == 0
    assert preheat("prune", "--younger", "0s", "--yes", "--json").last["blobs"] == 0
    assert pulling.ended().status == 0
    assert whole(preheat.library)


def slow(request: Request, full: Answer) -> Answer:
    """Respond late."""
    time.sleep(2)
    return full


# ---- verify


def rotten(library: Path, size: int) -> Path:
    path = next(
        path for path in (library / "blobs/sha256").rglob("*") if path.is_file() and path.stat().st_size == size
    )
    path.chmod(0o644)
    with open(path, "r+b") as file:
        file.seek(size // 3)
        byte = file.read(1)
        file.seek(size // 3)
        file.write(bytes([byte[0] ^ 4]))
    path.chmod(0o444)
    return path


def test_a_corrupt_blob_is_quarantined_and_a_pull_downloads_it_again(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    before = blobs(preheat.library)
    path = rotten(preheat.library, 9_000_000)
    told = preheat("verify", "--json")
    assert told.status == 8
    [event] = [event for event in told.events if event["event"] == "rotten"]
    assert event["paths"] == [f"{event['paths'][0].partition(' ')[0]} model.safetensors"]
    assert not path.exists()
    assert Path(event["moved_to"]).stat().st_size == 9_000_000
    hub.recovers()
    assert preheat("pull", "acme/tiny").status == 0
    assert hub.sent(r"/resolve/") == 9_000_000
    assert blobs(preheat.library) == before
    assert preheat("verify").status == 0


def test_mend_downloads_only_corrupt_blobs_from_the_hub(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    before = blobs(preheat.library)
    for size in (9_000_000, 23):
        rotten(preheat.library, size)
    hub.recovers()
    told = preheat("verify", "--mend", "--json")
    assert told.status == 0, told.out
    assert len(told.last["rotten"]) == 2
    assert hub.sent(r"/resolve/") == 9_000_023
    assert blobs(preheat.library) == before


def test_a_failed_repair_is_reported_and_repaired_later(preheat: Preheat, voices: tuple[str, str]) -> None:
    rotten(preheat.library, 500_000)
    folder = Path(voices[1].removeprefix("file:"))
    folder.rename(folder.with_name("away"))
    told = preheat("verify", "--mend")
    assert told.status == 8
    assert "not repaired" in told.err
    folder.with_name("away").rename(folder)
    assert preheat("verify", "--mend").status == 0
    assert whole(preheat.library)


def test_verify_resumes_and_can_check_one_model(preheat: Preheat, voices: tuple[str, str]) -> None:
    assert preheat("verify", voices[0], "--json").last["blobs"] == 3
    assert preheat("verify", "--json").last["skipped"] == 0
    again = preheat("verify", "--since", "1h", "--json").last
    assert (again["blobs"], again["skipped"]) == (0, 5)
    rotten(preheat.library, 500_000)
    assert preheat("verify", "--since", "1h").status == 8


def test_verify_shows_its_progress(preheat: Preheat, hub: FlakyHub) -> None:
    preheat("pull", "acme/tiny")
    events = preheat("verify", "--json").events
    assert events[0] == {"event": "reading", "purpose": "verify", "files": 6, "size": 12_000_031}
    assert "to verify" in preheat("verify").err


# ---- a library that cannot be written


def read_only(preheat: Preheat) -> tuple[str, ...]:
    """Return the prefix of a command that runs another with the library mounted read-only."""
    mount = f"mount --bind '{preheat.library}' '{preheat.library}' && mount -o remount,bind,ro '{preheat.library}'"
    inside = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    probe = preheat("--version", inside=inside)
    if probe.status:
        pytest.skip(f"nothing can be mounted here: {probe.err}")
    return inside


def test_a_read_only_library_can_be_listed_shown_verified_and_its_prune_planned(
    preheat: Preheat, voices: tuple[str, str]
) -> None:
    before = contents(preheat.library)
    inside = read_only(preheat)
    reading = (f"ls|show {voices[0]}|verify|verify --mend|prune|rm {voices[0]}|pull {voices[0]}").split("|")
    writing = f"pin {voices[0]}|rm {voices[0]} --yes|prune --yes|adopt {voices[0][5:]} --as a/b".split("|")
    for words in (*reading, *writing):
        told = preheat(*words.split(" "), inside=inside)
        assert told.status == (5 if words in writing else 0), (words, told.err)
        assert "Traceback" not in told.err
    assert contents(preheat.library) == before
    rotten(preheat.library, 500_000)
    told = preheat("verify", inside=inside)
    assert told.status == 8
    assert "read-only" in told.err


def test_apps_start_on_a_read_only_library_with_views_outside_it(preheat: Preheat, hub: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    before = contents(preheat.library)
    inside = read_only(preheat)
    app = "import os,pathlib;p=pathlib.Path(os.environ['HF_HUB_CACHE']);print(p, len(list(p.rglob('config.json'))))"
    told = preheat("run", "--max-restarts", "0", "--", "python3", "-c", app, inside=inside)
    assert told.status == 0, told.err
    at, found = told.out.split()
    assert found == "1"
    assert Path(at).is_relative_to(preheat.folder / ".local/state/preheat")
    assert preheat("view", "flat", "placed", "acme/tiny", inside=inside).status == 0
    assert contents(preheat.folder / "placed").keys() >= {"config.json", "model.safetensors"}
    assert contents(preheat.library) == before
