"""Plan: which bytes to ask for, in what order, in which pieces. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from preheat.snapshot import File

_SMALLEST, _LARGEST = 1 << 20, 32 << 20


class Part(NamedTuple):
    """Bytes `start` up to, not including, `stop` of a file: what one connection asks for at a time."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Policy:
    """How hard to pull: `connections` at a time."""

    connections: int = 32


def order(files: Iterable[File]) -> list[File]:
    """Put the largest file first, so that no giant is left for the end; everywhere alike, so that none deadlock."""
    return sorted(files, key=lambda file: (-file.size, file.digest))


def part_size(total: int, connections: int) -> int:
    """Choose a size of part that gives each connection several, and no part a name as a giant."""
    return min(max(total // (4 * connections), _SMALLEST), _LARGEST)


def cut(gaps: Sequence[tuple[int, int]], size: int) -> list[Part]:
    """Cut gaps into parts of at most `size` bytes, in the file's order, each byte in one part."""
    return [Part(at, min(at + size, stop)) for start, stop in gaps for at in range(start, stop, size)]
