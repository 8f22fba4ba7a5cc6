"""Usage: the versions in the library, their sizes, and how much they share."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from preheat.core.ref import Ref
from preheat.library.records.pins import Pins
from preheat.library.records.records import Records, RecordSummary
from preheat.library.upkeep.inventory import blob_numbers


@dataclass(frozen=True, slots=True)
class VersionUsage:
    """A recorded commit and its disk usage, in bytes.

    `size` is the size of its downloaded blobs, each counted once; `own` is the part that no other version uses;
    `missing` is still to be downloaded. `revisions` are the branches and tags that last pointed to the commit. `files`
    and `missing_files` are numbers; they include the `unlisted` files, of which only the name is known.
    """

    ref: Ref
    revisions: tuple[str, ...]
    pinned: bool
    files: int
    size: int
    own: int
    missing: int
    missing_files: int = 0
    unlisted: int = 0

    @property
    def shared(self) -> int:
        """Return the bytes that other versions use too."""
        return self.size - self.own


@dataclass(frozen=True, slots=True)
class Survey:
    """All versions, sorted by name; they use `stored` bytes on disk, and would use `apart` bytes without sharing."""

    versions: tuple[VersionUsage, ...]
    stored: int
    apart: int


def survey(records: Records, blobs: Path, pins: Pins) -> Survey:
    """Return the disk usage of all versions, from records and folder listings, usually without a stat(2) per blob."""
    here = blob_numbers(blobs)
    listed = list(records.listed())
    costs = [_blobs_of(record, here) for record in listed]
    users = Counter(blob for cost in costs for blob in cost[0])
    pinned = pins.all()
    versions = []
    for record, (present, missing) in zip(listed, costs, strict=True):
        ref, names = record.ref, len(record.unlisted or ())
        versions.append(
            VersionUsage(
                ref,
                record.revisions,
                (ref.hub, ref.slug, ref.revision) in pinned,
                len(record.files) + names,
                sum(present.values()),
                sum(size for blob, size in present.items() if users[blob] == 1),
                missing,
                sum(file.digest not in here for file in record.files) + names,
                names,
            )
        )
    once: dict[int, int] = {}
    for present, _ in costs:
        once.update(present)
    versions.sort(
        key=lambda version: (str(version.ref.at(version.ref.branch)), version.revisions, version.ref.revision)
    )
    return Survey(tuple(versions), sum(once.values()), sum(version.size for version in versions))


def sharers(listed: Iterable[RecordSummary], here: dict[str, int]) -> dict[int, set[Ref]]:
    """Return the versions that use each blob; `here` is the result of `blob_numbers`."""
    found: dict[int, set[Ref]] = {}
    for record in listed:
        for file in record.files:
            if file.digest in here:
                found.setdefault(here[file.digest], set()).add(record.ref)
    return found


def _blobs_of(record: RecordSummary, here: dict[str, int]) -> tuple[dict[int, int], int]:
    """Return the sizes of a version's downloaded blobs, and the number of missing bytes."""
    present: dict[int, int] = {}
    absent: dict[str, int] = {}
    for file in record.files:
        blob = here.get(file.digest)
        if blob is None:
            absent[file.digest] = file.size
        else:
            present[blob] = file.size
    return present, sum(absent.values())
