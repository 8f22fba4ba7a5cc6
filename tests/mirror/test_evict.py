"""Evict: the library stays below its cap, and nothing that is pinned, in use or pulled by hand is evicted."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import Digest
from preheat.core.errors import UsageError
from preheat.core.events import Event, Evicted, Noted
from preheat.core.ref import Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.records.records import MIRROR
from preheat.library.upkeep.inventory import Blob
from preheat.mirror.evict import EvictableVersion, Evictor, candidates, choose, require_cap
from preheat.mirror.last_used import Uses
from preheat.mirror.status.access_log import AccessLog
from preheat.mirror.status.counters import RequestCounter
from tests.growth.counting import calls_of, grows_as_the_work
from tests.library.shelves import shelve

_BLOB = 200_000


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def keep(library: Library, name: str, *contents: bytes, age_s: float, by: str = MIRROR) -> Snapshot:
    """Store a version as if downloaded for a client, last used so many seconds ago."""
    files = {f"{number}.bin": content for number, content in enumerate(contents)}
    snapshot = shelve(library, f"hf:acme/{name}", files)
    library.records.write(snapshot, by)
    at = time.time() - age_s
    os.utime(record_of(library, snapshot), (at, at))
    return snapshot


def record_of(library: Library, snapshot: Snapshot) -> Path:
    return library.root / "records" / "hf" / snapshot.ref.slug / f"{snapshot.commit}.json"


def told(library: Library, cap: int) -> list[Event]:
    """Evict once; return the events."""
    events: list[Event] = []
    freed = Evictor(library, cap, events.append, lambda error: pytest.fail(error.message)).once()
    assert freed == sum(event.size for event in events if isinstance(event, Evicted))
    return events


def evict(library: Library, cap: int) -> tuple[int, int]:
    """Evict once; return the number of evicted versions, and the bytes freed."""
    went = [event for event in told(library, cap) if isinstance(event, Evicted)]
    return len(went), sum(event.size for event in went)


def names(library: Library) -> str:
    return "".join(sorted(snapshot.ref.repo.partition("/")[2] for snapshot in library.snapshots()))


def blob() -> bytes:
    return os.urandom(_BLOB)


def test_below_the_cap_nothing_is_evicted(library: Library) -> None:
    keep(library, "a", blob(), age_s=9000)
    assert evict(library, 2 * _BLOB) == (0, 0)


def test_the_least_recently_used_versions_are_evicted_first_and_no_more_than_needed(library: Library) -> None:
    for name, age_s in (("b", 8000), ("a", 9000), ("c", 7000)):
        keep(library, name, blob(), age_s=age_s)
    versions, size = evict(library, 5 * _BLOB // 2)
    assert versions == 1
    assert size >= _BLOB
    assert names(library) == "bc"
    assert all(library.missing(snapshot) == () for snapshot in library.snapshots())


def test_a_recently_requested_version_stays_even_after_a_restart(library: Library) -> None:
    old = keep(library, "a", blob(), age_s=9000)
    keep(library, "b", blob(), age_s=8000)
    Uses(library.records).note(old)
    assert evict(Library(library.root), _BLOB * 3 // 2)[0] == 1
    assert names(library) == "a"


def test_a_version_used_a_moment_ago_stays_even_above_the_cap(library: Library) -> None:
    keep(library, "a", blob(), age_s=1)
    assert evict(library, 1000) == (0, 0)
    assert names(library) == "a"


def test_pinned_and_held_versions_stay(library: Library, tmp_path: Path) -> None:
    pinned, viewed, pulled = (keep(library, name, blob(), age_s=9000) for name in "abc")
    keep(library, "d", blob(), age_s=1000)
    library.pins.add(pinned)
    view = tmp_path / "view"
    view.mkdir()
    [file] = viewed.files
    (view / "0.bin").symlink_to(library.path(file.digest))
    library.claims.placed(view, [file.digest])
    with library.wanted(pulled):
        assert evict(library, 1000)[0] == 1
        assert names(library) == "abc"
    assert evict(library, 1000)[0] == 1
    assert names(library) == "ab"


def test_bytes_that_another_version_needs_are_kept(library: Library) -> None:
    shared = blob()
    keep(library, "a", shared, blob(), age_s=9000)
    keep(library, "b", shared, blob(), age_s=10)
    assert evict(library, 2 * _BLOB + 50_000)[0] == 1
    (left,) = library.snapshots()
    assert left.ref.repo == "acme/b"
    assert library.missing(left) == ()


def test_a_version_whose_eviction_frees_nothing_stays(library: Library) -> None:
    shared = blob()
    keep(library, "a", shared, age_s=9000)
    keep(library, "b", blob(), age_s=8000)
    library.pins.add(keep(library, "c", shared, age_s=9000))
    assert evict(library, _BLOB + 50_000)[0] == 1
    assert names(library) == "ac"


def test_a_version_pulled_by_hand_stays_even_if_least_recently_used(library: Library) -> None:
    keep(library, "a", blob(), age_s=90_000, by="")
    keep(library, "b", blob(), age_s=8000)
    assert evict(library, 1000)[0] == 1
    assert names(library) == "a"


def test_a_record_of_an_older_preheat_counts_as_pulled_by_hand(library: Library) -> None:
    snapshot = keep(library, "a", blob(), age_s=9000)
    record = record_of(library, snapshot)
    facts = json.loads(record.read_bytes())
    assert facts.pop("by") == "mirror"
    record.write_text(json.dumps(facts))
    os.utime(record, (0, 0))
    assert evict(Library(library.root), 1000) == (0, 0)


@pytest.mark.parametrize("how", ["recorded again", "vouched for"])
def test_a_version_pulled_by_hand_after_the_mirror_downloaded_it_stays(library: Library, how: str) -> None:
    snapshot = keep(library, "a", blob(), age_s=9000)
    if how == "recorded again":
        library.record(snapshot)
    else:
        library.keep_for_user(snapshot.ref.at(snapshot.commit))
    library.record(snapshot, MIRROR)  # downloaded for a client again
    os.utime(record_of(library, snapshot), (0, 0))
    assert evict(Library(library.root), 1000) == (0, 0)


def test_each_eviction_is_reported_logged_and_counted(library: Library, tmp_path: Path) -> None:
    first, second = keep(library, "a", blob(), age_s=9000), keep(library, "b", blob(), blob(), age_s=8000)
    events = told(library, 1000)
    assert [(event.ref, event.commit, event.revisions) for event in events if isinstance(event, Evicted)] == [
        (first.ref, first.commit, ("main",)),
        (second.ref, second.commit, ("main",)),
    ]
    log, tally = AccessLog(str(tmp_path / "log")), RequestCounter()
    for event in events:
        log(event)
        tally(event)
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["evicted"], line["commit"]) for line in lines] == [
        ("hf:acme/a", first.commit),
        ("hf:acme/b", second.commit),
    ]
    assert sum(line["size"] for line in lines) == tally.served.evicted_size >= 3 * _BLOB
    assert [one.version.commit for one in tally.served.evictions] == [second.commit, first.commit]


def test_a_cap_that_cannot_be_kept_is_reported_once_until_it_is_kept(library: Library) -> None:
    keep(library, "a", blob(), age_s=9000, by="")
    events: list[Event] = []
    evictor = Evictor(library, 1000, events.append, lambda error: pytest.fail(error.message))
    evictor.once()
    evictor.once()
    [event] = events
    assert isinstance(event, Noted)
    assert "199.7 kB above" in event.said


def test_a_cap_below_the_pinned_size_is_refused_and_one_below_other_kept_versions_reported(library: Library) -> None:
    events: list[Event] = []
    pinned, shared = keep(library, "a", os.urandom(3_000_000), age_s=1), blob()
    keep(library, "b", shared, age_s=1, by="")
    keep(library, "c", os.urandom(3_000_000), shared, age_s=1)
    library.pins.add(pinned)
    with pytest.raises(UsageError, match=r"--size-cap is 2\.0 MB, but pinned versions need 3\.0 MB"):
        require_cap(library, 2_000_000, events.append)
    assert events == []
    require_cap(library, 3_100_000, events.append)
    [event] = events
    assert isinstance(event, Noted)
    assert "3.2 MB" in event.said
    require_cap(library, 3_300_000, events.append)
    assert len(events) == 1


def test_choosing_versions_grows_linearly() -> None:
    def cost(count: int) -> int:
        digests = [Digest("sha256", f"{number:064x}") for number in range(count)]
        blobs = [Blob((digest,), 10, 4096, 0.0) for digest in digests]
        versions = [
            EvictableVersion(
                Ref.parse(f"hf:acme/m{number}").at(f"{number:040x}"), frozenset((str(digest),)), float(number)
            )
            for number, digest in enumerate(digests)
        ]
        return calls_of(lambda: choose(versions, versions, blobs, 4096 * count))

    assert grows_as_the_work(cost(30), cost(300), 10)


_AGES = st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.booleans()), max_size=12)


@given(_AGES, st.integers(0, 20))
def test_candidates_are_the_unpinned_versions_in_order_of_use(told: list[tuple[int, bool, bool]], before: int) -> None:
    versions = [
        EvictableVersion(
            Ref.parse(f"hf:acme/m{number}").at(f"{number:040x}"), frozenset((f"sha256:{number}",)), float(used_at)
        )
        for number, (used_at, _, _) in enumerate(told)
    ]
    refs = [version.ref for version in versions]
    pinned = {(ref.hub, ref.slug, ref.revision) for ref, (_, pin, _) in zip(refs, told, strict=True) if pin}
    held = {f"sha256:{number}" for number, (_, _, hold) in enumerate(told) if hold}
    found = candidates(versions, pinned, held, float(before))
    assert [version.used_at for version in found] == sorted(version.used_at for version in found)
    wanted = {number for number, (used_at, pin, hold) in enumerate(told) if used_at < before and not pin and not hold}
    assert {int(version.ref.revision, 16) for version in found} == wanted
