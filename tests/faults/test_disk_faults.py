"""A slow, full or broken disk: pulls do not fail needlessly; errors contain the reason, and a retry succeeds."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.core.ref import Ref
from preheat.library.library import Library
from tests.command import Preheat, Told
from tests.faults.preloaded import Fault, faulty, full_disk, slow_disk, unreadable
from tests.flaky_hub import FlakyHub
from tests.stories.caches import hf_cache


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[FlakyHub]:
    """A hub with a model of many files just large enough to have journals."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(240):
        (folder / f"{number:03d}.bin").write_bytes(os.urandom(16) * 68_750)
    with FlakyHub({"acme/shards": folder}, pace=40_000_000) as hub:
        yield hub


def failed(told: Told, *words: str) -> None:
    """Check that the command failed with a LibraryError."""
    assert told.status == 5, told.out + told.err
    assert "Traceback" not in told.err
    for word in words:
        assert word in " ".join(told.err.split()), told.err


def held_up(preheat: Preheat, hub: FlakyHub) -> Path:
    """Kill a pull on its way; return the folder of partials."""
    running = preheat.start("pull", "acme/tiny", "--limit-rate", "3M", "--json")
    running.until(lambda one: one.out.count('"event":"progress"') > 2)
    running.kill()
    assert list((preheat.library / "partial").glob("*.part"))
    return preheat.library / "partial"


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_pulls_of_many_files_to_a_slow_disk_succeed(preheat: Preheat, shards: FlakyHub) -> None:
    preheat.env["HF_ENDPOINT"] = shards.url
    for number in range(3):
        library = preheat.folder / f"library-{number}"
        words = ("pull", "acme/shards", "--library", str(library))
        told = faulty(preheat, slow_disk(f"{library}/"), *words, within_s=400)
        assert told.status == 0, told.err
        kept = Library(library)
        assert not kept.missing(kept.require(Ref.parse("acme/shards")))


def test_a_pull_to_a_slow_disk_downloads_everything(preheat: Preheat) -> None:
    told = faulty(preheat, slow_disk(f"{preheat.library}/"), "pull", "acme/tiny")
    assert told.status == 0, told.err
    assert preheat("verify").status == 0


def test_system_calls_interrupted_by_signals_are_retried(preheat: Preheat) -> None:
    faults = [Fault(call, errno.EINTR, f"{preheat.library}/", 1, 3) for call in ("read", "write", "open")]
    told = faulty(preheat, faults, "pull", "acme/tiny")
    assert told.status == 0, told.err
    assert preheat("verify").status == 0


@pytest.mark.parametrize("part", [".part", ".journal"])
def test_an_unreadable_partial_is_reported_and_the_next_pull_succeeds(
    preheat: Preheat, hub: FlakyHub, part: str
) -> None:
    held_up(preheat, hub)
    told = faulty(preheat, unreadable(part), "pull", "acme/tiny")
    if told.status:
        failed(told, "input/output error", part)
    assert preheat("pull", "acme/tiny").status == 0
    assert preheat("verify").status == 0


def test_a_claim_that_cannot_be_removed_stays_until_the_next_prune(preheat: Preheat) -> None:
    told = faulty(preheat, Fault("unlink", errno.EIO, "/claims/"), "pull", "acme/tiny")
    assert told.status == 0, told.err
    assert list((preheat.library / "claims").iterdir())
    failed(faulty(preheat, Fault("unlink", errno.EIO, "/claims/"), "prune", "--yes"), "input/output error", "claims")
    assert preheat("prune", "--yes").status == 0
    assert not list((preheat.library / "claims").iterdir())


@pytest.mark.parametrize("after", [0, 1, 5, 40])
def test_a_full_disk_is_reported_and_the_next_pull_resumes(preheat: Preheat, after: int) -> None:
    failed(faulty(preheat, full_disk(f"{preheat.library}/", after), "pull", "acme/tiny"), "no space left", "hint:")
    assert preheat("pull", "acme/tiny").status == 0
    assert preheat("verify").status == 0


@pytest.mark.slow
@pytest.mark.parametrize("call", ["open", "read", "create", "write", "sync", "rename", "link", "unlink"])
@pytest.mark.parametrize("after", [0, 3])
def test_a_broken_disk_is_reported_wherever_it_breaks(preheat: Preheat, call: str, after: int) -> None:
    told = faulty(preheat, Fault(call, errno.EIO, f"{preheat.library}/", after), "pull", "acme/tiny")
    if told.status:
        failed(told, "input/output error")
    assert preheat("pull", "acme/tiny").status == 0
    assert preheat("verify").status == 0


@pytest.mark.slow
@pytest.mark.parametrize("call", ["open", "read", "create", "write", "rename", "unlink", "sync"])
@pytest.mark.parametrize("verb", ["ls", "show", "pin", "verify", "rm", "prune", "adopt", "view"])
def test_no_verb_shows_a_traceback_on_a_broken_disk(preheat: Preheat, verb: str, call: str) -> None:
    assert preheat("pull", "acme/tiny").status == 0
    (preheat.library / "blobs/sha256/00").mkdir(exist_ok=True)
    (preheat.library / "blobs/sha256/00" / ("00" * 32)).write_bytes(b"stray")
    words = {
        "show": ("acme/tiny",),
        "pin": ("acme/tiny",),
        "rm": ("acme/tiny", "--yes"),
        "prune": ("--younger", "0s", "--yes"),
        "adopt": (str(hf_cache(preheat.folder / "hub", "acme/voice", {"a": b"1", "b": b"2" * 2_000_000})), "--copy"),
        "view": ("flat", str(preheat.folder / "view"), "acme/tiny"),
    }.get(verb, ())
    told = faulty(preheat, Fault(call, errno.EIO, f"{preheat.library}/"), verb, *words)
    assert "Traceback" not in told.err
    assert told.status in (0, 5, 8), told.err
    assert (told.status == 0) == ("preheat:" not in told.err)
    assert preheat("pull", "acme/tiny").status == 0
