"""Usage: every version in the library, its size, and how much of that it shares."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from preheat.core.ref import Ref
from preheat.library.records.pins import Pins
from preheat.library.records.records import Records, RecordSummary
from preheat.library.upkeep.inventory import names_by_blob


@dataclass(frozen=True, slots=True)
class VersionUsage:
    """One recorded commit, and its bytes.

    `size` is that of the blobs that are here, each once; `own` of it is needed by no other version, `missing` is to be
    pulled yet. `revisions` are the branches and tags that were last seen at it.
    """

    ref: Ref
    revisions: tuple[str, ...]
    pinned: bool
    files: int
    size: int
    own: int
    missing: int

    @property
    def shared(self) -> int:
        """Bytes that other versions need too."""
        return self.size - self.own


@dataclass(frozen=True, slots=True)
class Survey:
    """All versions, by name; `stored` bytes are on disk once for all of them, `apart` they would be without sharing."""

    versions: tuple[VersionUsage, ...]
    stored: int
    apart: int


def survey(records: Records, blobs: Path, pins: Pins) -> Survey:
    """Read all records, and the names of all blobs; no blob is asked for itself."""
    here = names_by_blob(blobs)
    listed = list(records.listed())
    costs = [_blobs_of(record, here) for record in listed]
    users = Counter(blob for cost in costs for blob in cost[0])
    pinned = pins.all()
    versions = []
    for record, (present, missing) in zip(listed, costs, strict=True):
        ref = record.ref
        versions.append(
            VersionUsage(
                ref,
                record.revisions,
                (ref.hub, ref.slug, ref.revision) in pinned,
                len(record.files),
                sum(present.values()),
                sum(size for blob, size in present.items() if users[blob] == 1),
                missing,
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
    """Say which versions need each blob."""
    found: dict[int, set[Ref]] = {}
    for record in listed:
        for file in record.files:
            if file.digest in here:
                found.setdefault(here[file.digest], set()).add(record.ref)
    return found


def _blobs_of(record: RecordSummary, here: dict[str, int]) -> tuple[dict[int, int], int]:
    """Return the sizes of a version's blobs that are here, and the bytes that are not."""
    present: dict[int, int] = {}
    absent: dict[str, int] = {}
    for file in record.files:
        blob = here.get(file.digest)
        if blob is None:
            absent[file.digest] = file.size
        else:
            present[blob] = file.size
    return present, sum(absent.values())
