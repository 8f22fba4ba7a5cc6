"""Interrupted pulls are resumed: after kill -9, Ctrl-C, a full disk, or beside another pull."""

import hashlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.library.blobs.journal import Journal, boot_id
from preheat.library.blobs.ranges import gaps
from tests.command import Preheat, Running
from tests.flaky_hub import WEIGHTS, FlakyHub
from tests.stories.disk import disk
from tests.stories.kept import blobs, contents, partials, settled


@pytest.fixture
def hub(model: Path) -> Iterator[FlakyHub]:
    """A distant hub: 1 MB/s per connection."""
    with FlakyHub({"acme/tiny": model}, pace=1_000_000) as hub:
        yield hub


@pytest.fixture
def near(model: Path) -> Iterator[FlakyHub]:
    """The same hub, without a rate limit."""
    with FlakyHub({"acme/tiny": model}) as hub:
        yield hub


def begun(preheat: Preheat, *words: str) -> Running:
    """Start a pull that takes seconds, and wait until some bytes have arrived."""
    running = preheat.start("pull", "acme/tiny", "--json", "--connections", "4", "--limit-rate", "2M", *words)
    running.until(lambda running: '"done":' in running.out and _most(running) > 1_000_000)
    return running


def _most(running: Running) -> int:
    lines = [line for line in running.out.split("\n")[:-1] if line.startswith('{"event":"progress"')]
    return max((int(line.partition('"done":')[2].partition(",")[0]) for line in lines), default=0)


def missing(library: Path) -> int:
    """Count the bytes of weights that a library lacks, by its journals (docs/library-format.md)."""
    here = 0
    for size in (9_000_000, 3_000_000):
        if any(len(body) == size for body in blobs(library).values()):
            here += size
    for journal in (library / "partial").glob("*.journal"):
        size = journal.with_suffix(".part").stat().st_size
        here += size - sum(stop - start for start, stop in gaps(size, Journal.read(journal, size, boot_id()).ranges))
    return 12_000_000 - here


def test_after_kill_9_only_the_gaps_are_requested(preheat: Preheat, hub: FlakyHub, near: FlakyHub, model: Path) -> None:
    assert begun(preheat).kill(signal.SIGKILL).status == -signal.SIGKILL
    lacking = missing(preheat.library)
    assert 0 < lacking < 11_000_000
    told = preheat("pull", "acme/tiny", "--view", "hf-cache=cache", HF_ENDPOINT=near.url)
    assert told.status == 0, told.err
    assert near.sent(WEIGHTS) == lacking
    assert partials(preheat.library) == []
    (snapshot,) = (preheat.folder / "cache/models--acme--tiny/snapshots").iterdir()
    assert contents(snapshot) == contents(model)


def test_a_pull_killed_repeatedly_still_succeeds(preheat: Preheat, hub: FlakyHub, near: FlakyHub) -> None:
    lacking = 12_000_001
    for _ in range(3):
        begun(preheat).kill(signal.SIGKILL)
        assert missing(preheat.library) < lacking
        lacking = missing(preheat.library)
    assert preheat("pull", "acme/tiny", HF_ENDPOINT=near.url).status == 0
    assert near.sent(WEIGHTS) == lacking
    assert partials(preheat.library) == []


def test_ctrl_c_is_reported_and_keeps_the_received_bytes(preheat: Preheat, hub: FlakyHub, near: FlakyHub) -> None:
    told = begun(preheat).kill(signal.SIGINT)
    assert told.status == 130
    assert told.err == ""
    assert told.last["event"] == "error"
    assert told.last["message"] == "interrupted"
    assert "kept" in told.last["hint"]
    lacking = missing(preheat.library)
    assert lacking < 11_000_000
    assert preheat("pull", "acme/tiny", HF_ENDPOINT=near.url).status == 0
    assert near.sent(WEIGHTS) <= lacking
    assert partials(preheat.library) == []


def test_two_concurrent_pulls_both_succeed_and_download_once(preheat: Preheat, hub: FlakyHub) -> None:
    both = [preheat.start("pull", "acme/tiny", "--connections", "8") for _ in range(2)]
    assert [running.ended().status for running in both] == [0, 0], [running.err for running in both]
    assert hub.sent(WEIGHTS) == 12_000_000
    assert partials(preheat.library) == []


def test_a_pull_takes_over_from_one_that_dies_meanwhile(preheat: Preheat, hub: FlakyHub) -> None:
    first = begun(preheat)
    second = preheat.start("pull", "acme/tiny", "--json", "--connections", "8")
    second.event("resolved")
    first.kill(signal.SIGKILL)
    assert second.ended().status == 0, second.out
    assert partials(preheat.library) == []


def test_too_little_disk_space_is_reported_before_any_download(preheat: Preheat, hub: FlakyHub) -> None:
    with disk(preheat.folder / "disk", "size=70m") as small:
        told = preheat("pull", "acme/tiny", "--library", f"{small.mounted}/library", inside=small.inside)
        assert told.status == 5
        assert "has only" in told.err
        assert "--library" in told.err
        assert not hub.asked("/resolve/")
        assert blobs(small.path / "library") == {}


@pytest.mark.slow
def test_a_disk_that_becomes_full_keeps_the_received_bytes(preheat: Preheat, hub: FlakyHub, near: FlakyHub) -> None:
    with disk(preheat.folder / "disk", "size=90m") as small:
        # One connection, one file after the other: started files have their disk space allocated.
        words = ("pull", "acme/tiny", "--library", f"{small.mounted}/library", "--json", "--connections", "1")
        running = preheat.start(*words, inside=small.inside)
        running.until(lambda running: _most(running) > 1_000_000)
        fill = small.path / "others"
        with fill.open("wb", buffering=0) as others:
            free = os.statvfs(small.path).f_bavail * os.statvfs(small.path).f_frsize
            others.write(bytes(free - 1_000_000))
        told = running.ended()
        assert told.status == 5, told.out + told.err
        assert told.last["kind"] == "NoSpace"
        assert told.err == ""
        fill.unlink()
        lacking = missing(small.path / "library")
        assert lacking < 11_000_000
        told = preheat(*words, inside=small.inside, HF_ENDPOINT=near.url)
        assert told.status == 0, told.out + told.err
        assert near.sent(WEIGHTS) == lacking
        assert partials(small.path / "library") == []


def test_a_read_only_library_is_reported(preheat: Preheat, hub: FlakyHub) -> None:
    with disk(preheat.folder / "disk", "size=1m,ro") as protected:
        told = preheat("pull", "acme/tiny", "--library", f"{protected.mounted}/library", inside=protected.inside)
    assert told.status == 5
    assert "read-only" in told.err
    assert "hint:" in told.err
    assert not hub.asked("/resolve/")


def test_a_library_of_a_newer_format_is_not_changed(preheat: Preheat, near: FlakyHub) -> None:
    assert preheat("pull", "acme/tiny", "--files", "*.json", HF_ENDPOINT=near.url).status == 0
    (preheat.library / "format").write_text("2\n")
    before = settled(preheat.library)
    for words in (("pull", "acme/tiny"), ("run", "--", "true"), ("mirror", "--listen", "127.0.0.1:0")):
        told = preheat(*words, HF_ENDPOINT=near.url)
        assert told.status == 5
        assert "format '2'" in told.err
    assert settled(preheat.library) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_any_moment_it_leaves_a_library_with_only_right_named_files(
    preheat: Preheat, hub: FlakyHub, near: FlakyHub, model: Path
) -> None:
    chance = random.Random(11)
    for _ in range(20):
        running = preheat.start("pull", "acme/tiny", "--limit-rate", "8M", HF_ENDPOINT=near.url)
        time.sleep(chance.uniform(0.0, 1.2))
        running.process.kill()
        running.ended()
        for name, body in blobs(preheat.library).items():
            if name.startswith("sha256/"):
                assert hashlib.sha256(body).hexdigest() == Path(name).name
    told = preheat("pull", "acme/tiny", "--view", "hf-cache=cache", HF_ENDPOINT=near.url)
    assert told.status == 0, told.err
    assert partials(preheat.library) == []
