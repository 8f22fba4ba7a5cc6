"""The sweep removes only unneeded blobs, whatever other processes write at the same time."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

import pytest

from preheat.core.errors import LibraryError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library
from preheat.library.records.claims import Claims
from preheat.library.records.unread_files import UnreadFiles
from preheat.library.upkeep.sweep import Sweep
from tests.library.shelves import file_of, keep, shelve

NEEDED, STRAY = b"needed" * 1000, b"stray" * 1000


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Return a library with a model, and a blob that no record has."""
    library = Library(tmp_path / "library")
    shelve(library, "me/voice", {"model.bin": NEEDED, "config.json": b"{}"})
    keep(library, file_of("stray.bin", STRAY), STRAY)
    return library


STRAY_FILE = file_of("stray.bin", STRAY)
STRAY_SNAPSHOT = Snapshot(Ref.parse("me/late"), "2" * 40, (STRAY_FILE,))


def swept(library: Library) -> list[str]:
    sweep = Sweep(library.root)
    plan = sweep.plan()
    sweep.carry_out(plan)
    return [str(name) for blob in plan.blobs for name in blob.names]


def whole(library: Library) -> bool:
    return not any(library.missing(snapshot) for snapshot in library.snapshots())


def names_of(file: File, data: bytes) -> set[str]:
    return {str(file_of("x", data, lfs=True).digest), str(file_of("x", data, lfs=False).digest)}


def test_an_unrecorded_blob_is_removed_with_both_its_names_and_the_rest_stays(library: Library) -> None:
    assert set(swept(library)) == names_of(STRAY_FILE, STRAY)
    assert whole(library)
    assert not any((library.root / "trash").iterdir())
    assert not [path for path in (library.root / "blobs").rglob("*") if path.is_file() and path.stat().st_size == 5000]


def test_a_blob_needed_by_one_of_its_names_keeps_both(library: Library) -> None:
    other = file_of("x", NEEDED, lfs=False)
    swept(library)
    assert library.has(other.digest)


def test_a_plan_changes_nothing(library: Library) -> None:
    before = sorted(library.root.rglob("*"))
    plan = Sweep(library.root).plan()
    assert plan.size > 0
    assert sorted(library.root.rglob("*")) == before


def test_a_new_blob_is_kept(library: Library) -> None:
    plan = Sweep(library.root).plan(young_s=60)
    assert not plan.blobs
    assert [user.said for _, user in plan.held] == ["it is new"]


def test_the_blobs_of_a_pull_are_kept_until_the_pull_ends(library: Library) -> None:
    with library.wanted(STRAY_SNAPSHOT):
        assert swept(library) == []
        assert library.has(STRAY_FILE.digest)
    assert swept(library) != []


def test_the_blobs_of_a_killed_pull_are_removed(library: Library) -> None:
    code = """
import os, sys
from pathlib import Path
from preheat.core.digest import Digest
from preheat.library.records.claims import Claims
pulling = Claims(Path(sys.argv[1])).pulling([Digest.parse(sys.argv[2])])
pulling.__enter__()
os._exit(9)
"""
    subprocess.run([sys.executable, "-c", code, str(library.root / "claims"), str(STRAY_FILE.digest)], check=False)
    assert len(list((library.root / "claims").iterdir())) == 1
    assert swept(library) != []
    library.claims.tidy()
    assert not list((library.root / "claims").iterdir())


def test_the_claim_of_a_pull_on_another_machine_is_valid_for_a_week(library: Library) -> None:
    with library.wanted(STRAY_SNAPSHOT):
        [claim] = (library.root / "claims").iterdir()
        claim.write_text(claim.read_text().replace('"process": "', '"process": "another-boot '))
        assert swept(library) == []
        week = time.time() - 8 * 86400
        os.utime(claim, (week, week))
        assert swept(library) != []


def test_a_record_written_between_plan_and_removal_gets_its_blob_back(library: Library) -> None:
    sweep = Sweep(library.root, settle_s=1)
    sweep.carry_out(sweep.plan(), wait=lambda _: library.record(STRAY_SNAPSHOT))
    assert library.has(STRAY_FILE.digest)
    assert whole(library)


def test_an_unread_file_that_a_pull_needed_between_plan_and_removal_gets_its_blob_back(library: Library) -> None:
    library.record(STRAY_SNAPSHOT)
    notes = UnreadFiles(library.root)
    notes.note(STRAY_SNAPSHOT.ref, STRAY_SNAPSHOT.commit, [STRAY_FILE])
    sweep = Sweep(library.root, settle_s=1, unread=notes.all)
    plan = sweep.plan()
    assert STRAY_FILE.digest in [name for blob in plan.blobs for name in blob.names]
    sweep.carry_out(plan, wait=lambda _: notes.forget(STRAY_SNAPSHOT.ref, STRAY_SNAPSHOT.commit, [STRAY_FILE]))
    assert whole(library)


def test_a_claim_written_between_plan_and_removal_gets_its_blob_back(library: Library) -> None:
    sweep = Sweep(library.root, settle_s=1)
    claiming = library.wanted(STRAY_SNAPSHOT)
    sweep.carry_out(sweep.plan(), wait=lambda _: claiming.__enter__())
    assert library.missing(STRAY_SNAPSHOT) == ()
    claiming.__exit__(None, None, None)


def test_a_file_required_while_its_blob_is_in_the_trash_is_restored_at_once(library: Library) -> None:
    def require(_: float) -> None:
        library.record(STRAY_SNAPSHOT)
        assert not library.has(STRAY_FILE.digest)
        library.require_files(STRAY_SNAPSHOT, "")
        assert library.path(STRAY_FILE.digest).read_bytes() == STRAY

    sweep = Sweep(library.root, settle_s=1)
    sweep.carry_out(sweep.plan(), wait=require)
    assert whole(library)
    assert not any((library.root / "trash").iterdir())


def test_a_blob_claimed_after_the_plan_is_not_moved(library: Library) -> None:
    sweep = Sweep(library.root, settle_s=1)
    plan = sweep.plan()
    assert [str(name) for blob in plan.blobs for name in blob.names]
    with library.wanted(STRAY_SNAPSHOT):
        assert sweep.carry_out(plan, wait=lambda _: pytest.fail("something was moved")) == 0
        assert library.has(STRAY_FILE.digest)


def test_a_blob_downloaded_again_while_the_old_one_was_in_the_trash_is_complete(library: Library) -> None:
    def fetch_again(_: float) -> None:
        library.record(STRAY_SNAPSHOT)
        assert not library.has(STRAY_FILE.digest)
        keep(library, STRAY_FILE, STRAY)

    sweep = Sweep(library.root, settle_s=1)
    sweep.carry_out(sweep.plan(), wait=fetch_again)
    assert library.path(STRAY_FILE.digest).read_bytes() == STRAY
    assert not any((library.root / "trash").iterdir())


def test_a_blob_that_a_crash_left_in_the_trash_is_restored_if_it_is_needed(library: Library) -> None:
    def crash(_: float) -> None:
        raise KeyboardInterrupt

    sweep = Sweep(library.root, settle_s=1)
    with pytest.raises(KeyboardInterrupt):
        sweep.carry_out(sweep.plan(), wait=crash)
    assert not library.has(STRAY_FILE.digest)
    library.record(STRAY_SNAPSHOT)
    swept(library)
    assert whole(library)


def test_an_unreadable_record_stops_the_sweep(library: Library) -> None:
    [record] = (library.root / "records").rglob("*.json")
    record.write_bytes(record.read_bytes()[:50])
    with pytest.raises(LibraryError, match="not a record"):
        Sweep(library.root).plan()


def test_a_view_of_symlinks_holds_its_blobs_and_one_of_hard_links_its_bytes(library: Library, tmp_path: Path) -> None:
    view = tmp_path / "view"
    view.mkdir()
    (view / "linked.bin").symlink_to(library.path(STRAY_FILE.digest))
    library.claims.placed(view, [STRAY_FILE.digest])
    assert swept(library) == []
    (view / "linked.bin").unlink()
    os.link(library.path(STRAY_FILE.digest), view / "hard.bin")
    assert swept(library) != []
    assert (view / "hard.bin").read_bytes() == STRAY


def test_views_in_the_library_hold_their_blobs_without_a_claim(library: Library) -> None:
    view = library.root / "views/app/flat/deep"
    view.mkdir(parents=True)
    (view / "model.bin").symlink_to(library.path(STRAY_FILE.digest))
    plan = Sweep(library.root).plan()
    assert not plan.blobs
    assert [user.said for _, user in plan.held] == [f"the view {library.root}/views/app links to it"]


def test_a_view_on_another_machine_holds_until_that_machine_is_forgotten(library: Library) -> None:
    library.claims.placed(Path("/no/such/view"), [STRAY_FILE.digest])
    [claim] = (library.root / "claims").iterdir()
    claim.write_text(claim.read_text().replace('"machine": "', '"machine": "far-'))
    assert swept(library) == []
    machine = next(iter(Claims(library.root / "claims"))).machine
    library.claims.tidy(forget=machine)
    assert swept(library) != []


def test_a_view_at_the_same_path_in_a_container_with_the_same_host_name_has_a_claim_of_its_own(
    library: Library, tmp_path: Path
) -> None:
    view = tmp_path / "view"
    library.claims.placed(view, [STRAY_FILE.digest])
    [claim] = (library.root / "claims").iterdir()
    other = claim.with_name(f"{claim.stem[:-4]}0000.json")
    other.write_text(re.sub('"root": ".*"', '"root": "another1"', claim.read_text()))
    # The folder does not exist here: this machine's claim ends, and the container's holds.
    assert swept(library) == []
    library.claims.tidy()
    assert list((library.root / "claims").iterdir()) == [other]
    assert swept(library) == []
    [held] = Claims(library.root / "claims")
    assert not held.here
    library.claims.tidy(forget=held.machine)
    assert swept(library) != []


def test_forgetting_machines_of_this_name_keeps_the_views_of_this_one(library: Library, tmp_path: Path) -> None:
    (tmp_path / "linked.bin").symlink_to(library.path(STRAY_FILE.digest))
    library.claims.placed(tmp_path, [STRAY_FILE.digest])
    library.claims.tidy(forget=next(iter(Claims(library.root / "claims"))).machine)
    assert swept(library) == []


def older(library: Library) -> Path:
    """Turn the only claim into one of a version that did not name the root; return its path."""
    [claim] = (library.root / "claims").iterdir()
    text = re.sub(',\n "root": ".*"', "", claim.read_text())
    assert '"root"' not in text
    claim.write_text(text)
    return claim


def test_claims_of_earlier_versions_hold_by_the_hosts_name(library: Library, tmp_path: Path) -> None:
    (tmp_path / "linked.bin").symlink_to(library.path(STRAY_FILE.digest))
    library.claims.placed(tmp_path, [STRAY_FILE.digest])
    older(library)
    assert [claim.here for claim in library.claims] == [True]
    assert swept(library) == []
    (tmp_path / "linked.bin").unlink()
    assert swept(library) != []


def test_the_claim_of_folded_files_replaces_that_of_an_earlier_version(library: Library, tmp_path: Path) -> None:
    journal, names = tmp_path / "journal", [str(tmp_path / name) for name in ("one.bin", "two.bin")]
    for name in names:
        Path(name).symlink_to(library.path(STRAY_FILE.digest))
    library.claims.folded(journal, [(name, STRAY_FILE.digest) for name in names])
    before = older(library)
    named = sha256(os.fsencode(journal)).hexdigest()[:16]
    before = before.rename(before.with_name(f"{before.name.partition('-fold-')[0]}-fold-{named}.json"))
    # Another container with this host's name wrote it, and still uses the second file.
    library.claims.folded(journal, [(names[0], STRAY_FILE.digest)])
    assert before.exists()
    Path(names[1]).unlink()
    library.claims.folded(journal, [(names[0], STRAY_FILE.digest)])
    assert not before.exists()
    assert swept(library) == []
    library.claims.folded(journal, [])
    assert swept(library) != []


def test_placing_a_view_again_writes_no_second_claim(library: Library, tmp_path: Path) -> None:
    for _ in range(3):
        library.claims.placed(tmp_path, [STRAY_FILE.digest])
    assert len(list((library.root / "claims").iterdir())) == 1


def test_partials_are_removed_after_a_week_unless_a_process_has_locked_them(library: Library) -> None:
    partial = library.begin(file_of("new.bin", b"new" * 1000))
    assert partial is not None
    [part] = (library.root / "partial").glob("*.part")
    later = time.time() + 8 * 86400
    sweep = Sweep(library.root)
    assert [path for path, _ in sweep.plan(now=later).leftovers] == [part]
    sweep.carry_out(sweep.plan(now=later))
    assert part.exists()
    partial.close()
    sweep.carry_out(sweep.plan(now=later))
    assert not part.exists()
    assert sweep.plan().leftovers == ()


def test_a_pull_that_ends_during_the_sweep_keeps_its_blob(library: Library) -> None:
    pulling = library.claims.pulling([STRAY_FILE.digest])

    class Slow(Sweep):
        """A sweep during which a pull writes its record and removes its claim."""

        def _recorded(self, gone: Collection[Ref] = ()) -> set[str]:
            found = super()._recorded(gone)
            library.record(STRAY_SNAPSHOT)
            pulling.__exit__(None, None, None)
            return found

    plan = Sweep(library.root).plan()
    pulling.__enter__()
    Slow(library.root).carry_out(plan)
    assert whole(library)
