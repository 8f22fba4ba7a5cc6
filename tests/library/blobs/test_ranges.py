"""Properties of ranges: present and missing ranges make the whole file, and never overlap."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from preheat.library.blobs.ranges import ByteRange, common, gaps, merge, without

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: ByteRange(*pair)), max_size=12)


def bytes_of(some: list[ByteRange]) -> set[int]:
    return {at for start, stop in some for at in range(start, stop)}


@given(ranges)
def test_merging_keeps_every_byte_and_adds_none(some: list[ByteRange]) -> None:
    assert bytes_of(merge(some)) == bytes_of(some)


@given(ranges)
def test_merged_ranges_are_sorted_and_do_not_touch(some: list[ByteRange]) -> None:
    merged = merge(some)
    assert all(one.stop < other.start for one, other in itertools.pairwise(merged))


@given(st.integers(0, 60), ranges)
def test_gaps_are_exactly_the_missing_bytes(size: int, some: list[ByteRange]) -> None:
    assert bytes_of(gaps(size, some)) == set(range(size)) - bytes_of(some)


@given(ranges, ranges)
def test_difference_and_intersection_make_the_whole(some: list[ByteRange], other: list[ByteRange]) -> None:
    assert bytes_of(without(some, other)) == bytes_of(some) - bytes_of(other)
    assert bytes_of(common(some, other)) == bytes_of(some) & bytes_of(other)
