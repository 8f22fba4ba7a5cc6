"""Part plan: choose the bytes to request, their order and the size of each part; pure."""

from collections.abc import Iterable

from preheat.core.digest import Digest
from preheat.core.snapshot import File
from preheat.library.blobs.ranges import ByteRange

SMALLEST, LARGEST = 512 << 10, 64 << 20
LEAST = 128 << 10  # the last parts, on a connection whose rate and response time are known
_FIRST = 1 << 20
_SMALLEST_READ = 16 << 10
_SMALL = 256 << 10
_LASTING_S = 3.0  # long enough to make requests cheap, short enough that a failed or slow one costs little
# Each connection takes two more parts before the end, so that all end together; one if responses are late.
_SHARES, _SOON_S = 2, 0.5
_WORTH_A_REQUEST, _LEAST_AT_MOST = 4.0, 4 << 20  # a part takes at least 4 times its time to first byte, up to 4 MiB
_ENOUGH, _ASKING_SHARE = 16 << 20, 0.02  # above 16 MiB only to keep the wait for a response at 2 % of the time


def order(files: Iterable[File], salt: int = 0) -> list[File]:
    """Sort files by size, largest first, so that no large file is left for the end.

    Files of up to 256 KiB are sorted by their digest and `salt`, of 32 bits: processes that pull the same repository at
    once, each with its own salt, then share the small files instead of waiting for each other at each of them.
    """

    def key(file: File) -> tuple[int, int, Digest]:
        if file.size > _SMALL:
            return -file.size, 0, file.digest
        return 0, int(file.digest.hex[:8], 16) ^ salt, file.digest

    return sorted(files, key=key)


def part_size(rate: float, answer_s: float, left: int, connections: int) -> int:
    """Return the size in bytes of one connection's next request.

    `rate`: bytes/s of a connection, 0 if unknown. `answer_s`: its time to first byte. `left`: bytes not requested yet,
    to be shared by `connections`. Large parts delay hashing, as a file is hashed from its start.
    """
    lasting = int(rate * _LASTING_S) if rate else _FIRST
    enough = max(int(rate * answer_s / _ASKING_SHARE), _ENOUGH)
    smallest = LEAST if rate and answer_s else SMALLEST
    least = min(max(int(rate * answer_s * _WORTH_A_REQUEST), smallest), _LEAST_AT_MOST)
    shares = _SHARES * connections if answer_s < _SOON_S else connections
    return max(min(lasting, enough, left // max(shares, 1), LARGEST), least)


def carve(gaps: list[ByteRange], size: int) -> tuple[ByteRange, list[ByteRange]]:
    """Cut a part of about `size` bytes off the front of `gaps`; return the part and the remaining gaps.

    A remainder of up to half of `size` is included in the part.
    """
    start, stop = gaps[0]
    cut = start + size
    if stop - cut <= size // 2:
        return gaps[0], gaps[1:]
    return ByteRange(start, cut), [ByteRange(cut, stop), *gaps[1:]]


def urgent(gaps: list[ByteRange], wanted: int) -> list[ByteRange]:
    """Put first the missing bytes from offset `wanted` to the end of that gap. Keep the order of all other bytes."""
    for at, (start, stop) in enumerate(gaps):
        if start <= wanted < stop:
            front = [ByteRange(start, wanted)] if start < wanted else []
            return [ByteRange(wanted, stop), *gaps[:at], *front, *gaps[at + 1 :]]
    return gaps


def split(at: int, stop: int, own_rate: float, other_rate: float) -> int:
    """Return where to divide the range `at` to `stop` between two connections so that both finish together.

    `own_rate` is the rate of the connection that continues at `at`. `other_rate` is the rate of the connection that
    takes the rest.
    """
    share = own_rate / (own_rate + other_rate) if own_rate + other_rate > 0 else 0.5
    return at + int((stop - at) * share)


def first_read(rate: float, most: int) -> int:
    """Return the size in bytes of a connection's first read: 1/20 s at `rate` bytes/s (0: unknown), at most `most`.

    On a steady connection, `read_size` later settles on about this size.
    """
    return min(max(int(rate / 20), _SMALLEST_READ), most)


def read_size(size: int, took_s: float, most: int) -> int:
    """Return the size in bytes of the next read, after one of `size` bytes that took `took_s` seconds.

    A read returns when its buffer is full. Small reads on a slow connection get the bytes to disk and into the progress
    display early; large reads on a fast one save system calls.
    """
    if took_s < 0.1:
        return min(2 * size, most)
    if took_s > 0.5:
        return max(size // 2, min(_SMALLEST_READ, most))
    return size
