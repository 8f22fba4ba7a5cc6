"""Ranges: half-open stretches of a file's bytes, `start` up to, not including, `stop`."""

from collections.abc import Iterable
from typing import NamedTuple


class Range(NamedTuple):
    """Bytes `start` up to, not including, `stop`."""

    start: int
    stop: int


def merge(ranges: Iterable[Range]) -> list[Range]:
    """Join what touches or overlaps; the result is sorted, and its ranges lie apart."""
    merged: list[Range] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if merged and start <= merged[-1].stop:
            merged[-1] = Range(merged[-1].start, max(stop, merged[-1].stop))
        else:
            merged.append(Range(start, stop))
    return merged


def gaps(size: int, ranges: Iterable[Range]) -> list[Range]:
    """Find what is missing of `size` bytes."""
    missing: list[Range] = []
    at = 0
    for start, stop in merge(ranges):
        if start >= size:
            break
        if start > at:
            missing.append(Range(at, start))
        at = max(at, stop)
    if at < size:
        missing.append(Range(at, size))
    return missing


def without(ranges: Iterable[Range], removed: Iterable[Range]) -> list[Range]:
    """Take `removed` out of `ranges`."""
    listed = merge(ranges)
    end = listed[-1].stop if listed else 0
    return gaps(end, [*gaps(end, listed), *removed])


def common(ranges: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """Find what is in both."""
    listed = merge(ranges)
    return without(listed, without(listed, others))
