"""Ranges: half-open byte ranges of a file; merge, gaps, difference, intersection."""

from collections.abc import Iterable
from typing import NamedTuple


class ByteRange(NamedTuple):
    """Bytes from `start` up to but not including `stop`."""

    start: int
    stop: int


def merge(ranges: Iterable[ByteRange]) -> list[ByteRange]:
    """Merge ranges that touch or overlap; return them sorted."""
    merged: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if merged and start <= merged[-1].stop:
            merged[-1] = ByteRange(merged[-1].start, max(stop, merged[-1].stop))
        else:
            merged.append(ByteRange(start, stop))
    return merged


def gaps(size: int, ranges: Iterable[ByteRange]) -> list[ByteRange]:
    """Return the ranges of a file of `size` bytes that `ranges` do not cover."""
    missing: list[ByteRange] = []
    at = 0
    for start, stop in merge(ranges):
        if start >= size:
            break
        if start > at:
            missing.append(ByteRange(at, start))
        at = max(at, stop)
    if at < size:
        missing.append(ByteRange(at, size))
    return missing


def without(ranges: Iterable[ByteRange], removed: Iterable[ByteRange]) -> list[ByteRange]:
    """Return `ranges` minus `removed`."""
    listed = merge(ranges)
    end = listed[-1].stop if listed else 0
    return gaps(end, [*gaps(end, listed), *removed])


def common(ranges: Iterable[ByteRange], others: Iterable[ByteRange]) -> list[ByteRange]:
    """Return the intersection of both."""
    listed = merge(ranges)
    return without(listed, without(listed, others))
