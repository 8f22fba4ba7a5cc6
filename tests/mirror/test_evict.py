"""Evict: the library stays below its cap, at the cost of nothing that is pinned, used or held."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.library.shelves import shelve

from preheat.library.library import Library
from preheat.mirror.evict import Evictor, Version, candidates
from preheat.mirror.uses import Uses
from preheat.ref import Ref
from preheat.snapshot import Snapshot

_BLOB = 200_000


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "library")


def keep(library: Library, name: str, *contents: bytes, age_s: float) -> Snapshot:
    """Put a version into the library that was last used so long ago."""
    files = {f"{number}.bin": content for number, content in enumerate(contents)}
    snapshot = shelve(library, f"hf:acme/{name}", files)
    at = time.time() - age_s
    os.utime(library.root / "records" / "hf" / snapshot.ref.slug / f"{snapshot.commit}.json", (at, at))
    return snapshot


def evict(library: Library, cap: int) -> tuple[int, int]:
    """Evict once; return how many versions went, and how many bytes that freed."""
    went = [0, 0]

    def gone(versions: int, size: int) -> None:
        went[:] = [went[0] + versions, went[1] + size]

    freed = Evictor(library, cap, gone, lambda error: pytest.fail(error.message)).once()
    assert freed == went[1]
    return went[0], went[1]


def names(library: Library) -> str:
    return "".join(sorted(snapshot.ref.repo.partition("/")[2] for snapshot in library.snapshots()))


def blob() -> bytes:
    return os.urandom(_BLOB)


def test_below_the_cap_nothing_goes(library: Library) -> None:
    keep(library, "a", blob(), age_s=9000)
    assert evict(library, 2 * _BLOB) == (0, 0)


def test_the_longest_unused_goes_first_and_no_more_than_must(library: Library) -> None:
    for name, age_s in (("b", 8000), ("a", 9000), ("c", 7000)):
        keep(library, name, blob(), age_s=age_s)
    versions, size = evict(library, 5 * _BLOB // 2)
    assert versions == 1
    assert size >= _BLOB
    assert names(library) == "bc"
    assert all(library.missing(snapshot) == () for snapshot in library.snapshots())


def test_what_was_asked_for_lately_stays_even_after_a_restart(library: Library) -> None:
    old = keep(library, "a", blob(), age_s=9000)
    keep(library, "b", blob(), age_s=8000)
    Uses(library.records).note(old)
    assert evict(Library(library.root), _BLOB * 3 // 2)[0] == 1
    assert names(library) == "a"


def test_what_was_used_a_moment_ago_stays_though_it_is_too_much(library: Library) -> None:
    keep(library, "a", blob(), age_s=1)
    assert evict(library, 1000) == (0, 0)
    assert names(library) == "a"


def test_pins_and_what_is_held_stay(library: Library, tmp_path: Path) -> None:
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


def test_bytes_that_another_version_needs_are_kept_for_it(library: Library) -> None:
    shared = blob()
    keep(library, "a", shared, blob(), age_s=9000)
    keep(library, "b", shared, blob(), age_s=10)
    assert evict(library, 2 * _BLOB + 50_000)[0] == 1
    (left,) = library.snapshots()
    assert left.ref.repo == "acme/b"
    assert library.missing(left) == ()


def test_what_would_free_nothing_is_left_whole(library: Library) -> None:
    shared = blob()
    keep(library, "a", shared, age_s=9000)
    keep(library, "b", blob(), age_s=8000)
    library.pins.add(keep(library, "c", shared, age_s=9000))
    assert evict(library, _BLOB + 50_000)[0] == 1
    assert names(library) == "ac"


_AGES = st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.booleans()), max_size=12)


@given(_AGES, st.integers(0, 20))
def test_candidates_are_the_free_in_the_order_of_their_use(told: list[tuple[int, bool, bool]], before: int) -> None:
    versions = [
        Version(Ref.parse(f"hf:acme/m{number}").at(f"{number:040x}"), frozenset((f"sha256:{number}",)), float(used_at))
        for number, (used_at, _, _) in enumerate(told)
    ]
    refs = [version.ref for version in versions]
    pinned = {(ref.hub, ref.slug, ref.revision) for ref, (_, pin, _) in zip(refs, told, strict=True) if pin}
    held = {f"sha256:{number}" for number, (_, _, hold) in enumerate(told) if hold}
    found = candidates(versions, pinned, held, float(before))
    assert [version.used_at for version in found] == sorted(version.used_at for version in found)
    wanted = {number for number, (used_at, pin, hold) in enumerate(told) if used_at < before and not pin and not hold}
    assert {int(version.ref.revision, 16) for version in found} == wanted
