"""Occupied: whether a view may replace what is at a path now; pure, reads no file."""

import enum
import itertools
from collections.abc import Sequence, Set
from dataclasses import dataclass

from preheat.core.digest import Digest
from preheat.core.placement import BEGUN, KEPT, OURS, THEIRS, Look, Mark
from preheat.core.snapshot import File
from preheat.views.path_state import PathState


class PlaceVerdict(enum.Enum):
    """What to do about a path: place there, leave what lies there, or ask."""

    FREE = "nothing lies there"
    OURS = "preheat placed it, and nobody changed it"
    SAME = "it is the user's, with the same bytes"
    KEPT = "it is the user's, and they said to keep it"
    OTHER = "it is the user's, with other bytes"
    CHANGED = "preheat placed it, and it was changed since"
    UNREAD = "only its bytes can tell"


@dataclass(frozen=True, slots=True)
class KnownBlobs:
    """What the library's blobs say about a file: whether it is a hard link to the wanted one, or to any."""

    wanted: bool = False
    marked: bool = False
    any: bool = False


def judge(
    sight: PathState,
    wanted: File,
    marks: Sequence[Mark] = (),
    blobs: KnownBlobs = KnownBlobs(),
    content: Set[Digest] | None = None,
) -> PlaceVerdict:
    """Decide what stands at a path where `wanted` is to be.

    `marks` are those of the path, the newest first; `blobs.marked` says that the file is a hard link to the blob that
    the newest mark which fits names. `content` are the digests of its bytes, None while they have not been read: then
    UNREAD is returned where they are needed. See `algorithms` for which.
    """
    if sight.look is None:
        return PlaceVerdict.OTHER if sight.blocked is not None else PlaceVerdict.FREE
    if sight.blob is not None:
        return PlaceVerdict.OURS
    if blobs.wanted:
        return PlaceVerdict.SAME if marks and marks[0].word == THEIRS else PlaceVerdict.OURS
    mark = fitting(sight, marks)
    if mark is not None and (mark.look == sight.look or blobs.marked):
        known = _known(mark, wanted)
        if known is not None:
            return known
    return _by_content(sight, wanted, marks, blobs, content)


def fitting(sight: PathState, marks: Sequence[Mark]) -> Mark | None:
    """Return the newest mark that a file looks like, its time of change apart."""
    look = sight.look
    return next((mark for mark in marks if look is not None and mark.look.resembles(look)), None)


def algorithms(sight: PathState, wanted: File, marks: Sequence[Mark]) -> frozenset[str]:
    """Say by which algorithms a file has to be hashed, so that `judge` can decide."""
    mark = fitting(sight, marks)
    named = [wanted.digest, *_begun(marks), *([mark.digest] if mark is not None else [])]
    return frozenset(digest.algorithm for digest in named)


def _begun(marks: Sequence[Mark]) -> list[Digest]:
    """Name what was about to be placed when a process ended; it may lie there by now."""
    return [mark.digest for mark in itertools.takewhile(lambda mark: mark.word == BEGUN, marks)]


def _known(mark: Mark, wanted: File) -> PlaceVerdict | None:
    """Decide by a mark alone, if it says which bytes the file has."""
    if mark.word == OURS:
        return PlaceVerdict.OURS
    return PlaceVerdict.SAME if mark.word == THEIRS and mark.digest == wanted.digest else None


def _by_content(
    sight: PathState, wanted: File, marks: Sequence[Mark], blobs: KnownBlobs, content: Set[Digest] | None
) -> PlaceVerdict:
    mark = fitting(sight, marks)
    ours = mark is not None and mark.word == OURS
    look = sight.look
    assert look is not None, "something lies there"
    begun = [] if sight.target else _begun(marks)
    if sight.regular and (look.size == wanted.size or ours or begun) and not _is_other(mark, wanted):
        if content is None:
            return PlaceVerdict.UNREAD
        if wanted.digest in content:
            placed = any(one.word in (OURS, BEGUN) and one.digest == wanted.digest for one in marks)
            return PlaceVerdict.OURS if placed and not sight.target else PlaceVerdict.SAME
        if (mark is not None and ours and mark.digest in content) or not content.isdisjoint(begun):
            return PlaceVerdict.OURS
    if next((one.word for one in marks if one.look != Look()), "") == KEPT:
        return PlaceVerdict.KEPT
    # Before there were marks, views were made of hard links; what was adopted since has one.
    if blobs.any and not marks:
        return PlaceVerdict.OURS
    return PlaceVerdict.CHANGED if any(one.word == OURS for one in marks) else PlaceVerdict.OTHER


def _is_other(mark: Mark | None, wanted: File) -> bool:
    """Whether a mark already says that the file has other bytes."""
    if mark is None or mark.word not in (THEIRS, KEPT):
        return False
    if mark.word == KEPT:  # its digest is the one that was not there
        return mark.digest == wanted.digest
    return mark.digest.algorithm == wanted.digest.algorithm and mark.digest != wanted.digest
