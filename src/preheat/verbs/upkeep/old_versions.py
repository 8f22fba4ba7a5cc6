"""Old versions: versions that no branch or tag refers to, and that no pin, recipe or placed view needs."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.placement import OURS
from preheat.core.ref import ARCHIVES, MADE, Ref
from preheat.core.snapshot import Snapshot
from preheat.library.library import Library
from preheat.library.records.claims import VIEW
from preheat.library.records.records import RecordSummary
from preheat.recipes.builtin_recipes import built_in, names, shipped_lock
from preheat.verbs.upkeep.noted_apps import pinned_by_apps
from preheat.verbs.upkeep.remove import back_in_use


def old_versions(library: Library, recipes: Iterable[Path] = ()) -> list[Snapshot]:
    """Return the old versions in the library.

    A version that the lock of an app pins is not old: of an app that was pulled into this library, placed or started
    from it, or of one of `recipes`. The members of an archive have no branch that could move on. What an app's start
    made may be in a lock, and cannot be downloaded again. A version has a placed view if the view has a file that no
    other version has that is kept.
    """
    records = list(library.records.listed())
    pinned = library.pins.all()
    old = [record for record in records if _is_old(record) and (*_name(record.ref), record.ref.revision) not in pinned]
    if not old:
        return []
    by_recipes = set(_pinned_by_recipes())
    by_apps = set(pinned_by_apps(library, recipes))
    old = [record for record in old if record.ref not in by_recipes and str(record.ref) not in by_apps]
    gone = {record.ref for record in old}
    kept = {file.digest for record in records if record.ref not in gone for file in record.files}
    own = {file.digest for record in old for file in record.files} - kept
    placed = _placed(library, own) - kept if own else set()
    left = [record for record in old if placed.isdisjoint(file.digest for file in record.files)]
    found = [snapshot for record in left if (snapshot := library.find(record.ref)) is not None]
    again = {snapshot.ref for snapshot in back_in_use(found, library)}
    return [snapshot for snapshot in found if snapshot.ref not in again]


def _is_old(record: RecordSummary) -> bool:
    return record.ref.hub not in (*ARCHIVES, MADE) and not record.revisions


def _name(ref: Ref) -> tuple[str, str]:
    return ref.hub, ref.slug


def _pinned_by_recipes() -> Iterator[Ref]:
    """Yield the commits that built-in recipes and their locks name."""
    for name in names():
        recipe = built_in(name, Path("/"))
        for need in (*recipe.needs, *shipped_lock(name, Path("/")).apply(recipe).needs):
            yield from (ref for ref in (need.ref, *need.same) if ref.pinned)


def _placed(library: Library, wanted: Iterable[str]) -> set[str]:
    """Return the blobs in existing views, as symlink targets or hard links; of views in views/, those in `wanted`."""
    digests = {digest for claim in library.claims if claim.by == VIEW for digest in claim.digests}
    digests |= _in_views(library, wanted)
    for path, marks in library.marks.below([""]).items():
        if marks[0].state == OURS and os.path.lexists(path):
            digests.add(str(marks[0].digest))
    return digests


def _in_views(library: Library, wanted: Iterable[str]) -> set[str]:
    """Return which of the blobs are in the library's own views, as a link of any kind or as a copy."""
    # A hard link is the same file, a symlink leads to it; a reflink or copy has the blob's size and time.
    there = set()
    for folder, _, files in os.walk(library.views):
        for name in files:
            with suppress(OSError):
                status = os.stat(f"{folder}/{name}")  # noqa: PTH116 - faster than Path: a view may have thousands of files
                there |= {(status.st_dev, status.st_ino), (status.st_size, status.st_mtime_ns)}
    found = set()
    for digest in wanted:
        with suppress(OSError):
            blob = library.path(Digest.parse(digest)).stat()
            if (blob.st_dev, blob.st_ino) in there or (blob.st_size and (blob.st_size, blob.st_mtime_ns) in there):
                found.add(digest)
    return found
