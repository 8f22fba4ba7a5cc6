"""Part plan: which bytes to request, in which order, in which parts; pure."""

from collections.abc import Iterable

from preheat.core.snapshot import File
from preheat.library.blobs.ranges import ByteRange

SMALLEST, LARGEST = 512 << 10, 64 << 20
_FIRST = 1 << 20
_SMALLEST_READ = 16 << 10
_LASTING_S = 3.0  # long enough that asking costs little, short enough that what fails or lags is no great loss
_WORTH_ASKING, _LEAST_AT_MOST = 4.0, 4 << 20  # what lasts no longer than its answer takes is mostly waiting
_ENOUGH, _ASKING_SHARE = 16 << 20, 0.02  # above this much, only to keep the wait for an answer to a share of the time


def order(files: Iterable[File]) -> list[File]:
    """Put the largest file first, so that no giant is left for the end."""
    return sorted(files, key=lambda file: (-file.size, file.digest))


def part_size(rate: float, answer_s: float, left: int, connections: int) -> int:
    """Choose how much one connection asks for next, in bytes.

    `rate` is what a connection brings a second, 0 when nobody knows yet, and `answer_s` how long it waits for the first
    byte; `left` is what is not asked for yet, of which every one of `connections` should get a share. Large parts are
    hashed late, for a file is hashed from its front.
    """
    lasting = int(rate * _LASTING_S) if rate else _FIRST
    enough = max(int(rate * answer_s / _ASKING_SHARE), _ENOUGH)
    least = min(max(int(rate * answer_s * _WORTH_ASKING), SMALLEST), _LEAST_AT_MOST)
    return max(min(lasting, enough, left // max(connections, 1), LARGEST), least)


def carve(gaps: list[ByteRange], size: int) -> tuple[ByteRange, list[ByteRange]]:
    """Cut the next part, of about `size` bytes, off the front of `gaps`; return it with what is left.

    No crumb is left behind: a rest of up to half of `size` goes with the part.
    """
    start, stop = gaps[0]
    cut = start + size
    if stop - cut <= size // 2:
        return gaps[0], gaps[1:]
    return ByteRange(start, cut), [ByteRange(cut, stop), *gaps[1:]]


def urgent(gaps: list[ByteRange], wanted: int) -> list[ByteRange]:
    """Put the bytes from `wanted` on first, if they are missing; the others keep their order."""
    for at, (start, stop) in enumerate(gaps):
        if start <= wanted < stop:
            front = [ByteRange(start, wanted)] if start < wanted else []
            return [ByteRange(wanted, stop), *gaps[:at], *front, *gaps[at + 1 :]]
    return gaps


def split(at: int, stop: int, own_rate: float, other_rate: float) -> int:
    """Say where to divide what is left of a part, `at` to `stop`, so that both ends come in together.

    `own_rate` is that of the connection that goes on from `at`, `other_rate` that of the one that takes the rest.
    """
    share = own_rate / (own_rate + other_rate) if own_rate + other_rate > 0 else 0.5
    return at + int((stop - at) * share)


def first_read(rate: float, most: int) -> int:
    """Choose how much to read at first, of a connection that is thought to bring `rate` bytes a second; 0: who knows.

    As `read_size` would have it after a while: what such a connection brings in a twentieth of a second.
    """
    return min(max(int(rate / 20), _SMALLEST_READ), most)


def read_size(size: int, took_s: float, most: int) -> int:
    """Choose how much to read at once next, after a read of `size` bytes that took so long.

    A read returns when it is full: on a slow line it must be small, so that what arrived is soon on disk and known; on
    a fast one large, so that there are few.
    """
    if took_s < 0.1:
        return min(2 * size, most)
    if took_s > 0.5:
        return max(size // 2, min(_SMALLEST_READ, most))
    return size
