"""Occupied: decide whether a view may replace the file at a path; pure, reads no file."""

import enum
import itertools
from collections.abc import Sequence, Set

import msgspec

from preheat.core.digest import Digest
from preheat.core.placement import BEGUN, KEPT, OURS, THEIRS, Mark, StatFields
from preheat.core.snapshot import File
from preheat.views.path_state import PathState


class PlaceVerdict(enum.Enum):
    """The state of a path: free, placed by preheat, or the user's; decides whether the view replaces the file."""

    FREE = "the path is free"
    OURS = "preheat placed the file, and it is unchanged"
    SAME = "the user's file, with the same bytes"
    KEPT = "the user's file, to be kept"
    OTHER = "the user's file, with other bytes"
    CHANGED = "preheat placed the file, and it has been changed since"
    UNREAD = "undecided until the file is read"


class KnownBlobs(msgspec.Struct, frozen=True):
    """Whether a file is a hard link to a blob: the `wanted` one, the one of its newest fitting mark, or `any`."""

    wanted: bool = False
    marked: bool = False
    any: bool = False


def judge(
    current: PathState,
    wanted: File,
    marks: Sequence[Mark] = (),
    blobs: KnownBlobs = KnownBlobs(),  # noqa: B008 - frozen
    content: Set[Digest] | None = None,
) -> PlaceVerdict:
    """Return the state of a path where a view needs the file `wanted`.

    `marks` are the path's marks, newest first. `blobs.marked` means that the file is a hard link to the blob named by
    the newest fitting mark. `content` contains the digests of the file's bytes, by the algorithms that `algorithms`
    returns; with None, the verdict is UNREAD if the digests are needed.
    """
    if current.look is None:
        return PlaceVerdict.OTHER if current.blocked is not None else PlaceVerdict.FREE
    if current.blob is not None:
        return PlaceVerdict.OURS
    if blobs.wanted:
        return PlaceVerdict.SAME if marks and marks[0].state == THEIRS else PlaceVerdict.OURS
    mark = fitting(current, marks)
    if mark is not None and (mark.look == current.look or blobs.marked):
        known = _known(mark, wanted)
        if known is not None:
            return known
    return _by_content(current, wanted, marks, blobs, content)


def fitting(current: PathState, marks: Sequence[Mark]) -> Mark | None:
    """Return the newest mark whose stat fields, except the ctime, are those of the file; None if there is none."""
    look = current.look
    return next((mark for mark in marks if look is not None and mark.look.resembles(look)), None)


def algorithms(current: PathState, wanted: File, marks: Sequence[Mark]) -> frozenset[str]:
    """Return the hash algorithms whose digests `judge` needs for this file."""
    mark = fitting(current, marks)
    named = [wanted.digest, *_begun(marks), *([mark.digest] if mark is not None else [])]
    return frozenset(digest.algorithm for digest in named)


def _begun(marks: Sequence[Mark]) -> list[Digest]:
    """Return the digests of files whose placing was interrupted; one of them may be at the path."""
    return [mark.digest for mark in itertools.takewhile(lambda mark: mark.state == BEGUN, marks)]


def _known(mark: Mark, wanted: File) -> PlaceVerdict | None:
    """Decide by the mark alone, or return None if the file's bytes must be read."""
    if mark.state == OURS:
        return PlaceVerdict.OURS
    return PlaceVerdict.SAME if mark.state == THEIRS and mark.digest == wanted.digest else None


def _by_content(
    current: PathState, wanted: File, marks: Sequence[Mark], blobs: KnownBlobs, content: Set[Digest] | None
) -> PlaceVerdict:
    mark = fitting(current, marks)
    ours = mark is not None and mark.state == OURS
    look = current.look
    assert look is not None, "the path exists"
    begun = [] if current.target else _begun(marks)
    if current.regular and (look.size == wanted.size or ours or begun) and not _is_other(mark, wanted):
        if content is None:
            return PlaceVerdict.UNREAD
        if wanted.digest in content:
            placed = any(one.state in (OURS, BEGUN) and one.digest == wanted.digest for one in marks)
            return PlaceVerdict.OURS if placed and not current.target else PlaceVerdict.SAME
        if (mark is not None and ours and mark.digest in content) or not content.isdisjoint(begun):
            return PlaceVerdict.OURS
    if next((one.state for one in marks if one.look != StatFields()), "") == KEPT:
        return PlaceVerdict.KEPT
    # Views made before marks existed contain hard links without a mark; adopted files do have a mark.
    if blobs.any and not marks:
        return PlaceVerdict.OURS
    return PlaceVerdict.CHANGED if any(one.state == OURS for one in marks) else PlaceVerdict.OTHER


def _is_other(mark: Mark | None, wanted: File) -> bool:
    """Return whether a mark already proves that the file has other bytes."""
    if mark is None or mark.state not in (THEIRS, KEPT):
        return False
    if mark.state == KEPT:  # its digest is of the file that was not placed
        return mark.digest == wanted.digest
    return mark.digest.algorithm == wanted.digest.algorithm and mark.digest != wanted.digest
