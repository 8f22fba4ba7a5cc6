"""Properties of the part plan: each gap once, the largest file first, and both ends of a part finish together."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.snapshot import File
from preheat.library.blobs.ranges import ByteRange, gaps
from preheat.transfer.planning.part_plan import (
    LARGEST,
    LEAST,
    carve,
    first_read,
    order,
    part_size,
    read_size,
    split,
    urgent,
)

ranges = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda pair: ByteRange(*pair)))


@given(ranges, st.integers(1, 97))
def test_the_plan_covers_each_gap_once(here: list[ByteRange], size: int) -> None:
    missing = left = gaps(500, here)
    covered: list[int] = []
    while left:
        part, left = carve(left, size)
        covered += range(part.start, part.stop)
    assert covered == [at for start, stop in missing for at in range(start, stop)]


@given(ranges, st.integers(1, 97))
def test_no_part_is_empty_or_much_larger_than_requested(here: list[ByteRange], size: int) -> None:
    left = gaps(500, here)
    while left:
        part, left = carve(left, size)
        assert 0 < part.stop - part.start <= size + size // 2


@given(ranges, st.integers(0, 500))
def test_awaited_bytes_come_first_and_none_are_lost(here: list[ByteRange], wanted: int) -> None:
    missing = gaps(500, here)
    hurried = urgent(missing, wanted)
    assert sorted(at for start, stop in hurried for at in range(start, stop)) == [
        at for start, stop in missing for at in range(start, stop)
    ]
    if any(start <= wanted < stop for start, stop in missing):
        assert hurried[0].start == wanted
    else:
        assert hurried == missing


@given(st.lists(st.integers(0, 1 << 40), max_size=20), st.integers(0, (1 << 32) - 1))
def test_the_largest_file_comes_first_in_any_order_of_listing(sizes: list[int], salt: int) -> None:
    files = [File(f"f{n}", size, sha256(f"{n:064x}")) for n, size in enumerate(sizes)]
    ordered = order(files, salt)
    large = [size for size in sizes if size > 256 << 10]
    assert [file.size for file in ordered[: len(large)]] == sorted(large, reverse=True)
    assert order(reversed(files), salt) == ordered
    assert sorted(ordered, key=lambda file: file.path) == sorted(files, key=lambda file: file.path)


def test_processes_begin_with_different_small_files() -> None:
    files = [File(f"f{n}", 100, sha256(hashlib.sha256(b"%d" % n).hexdigest())) for n in range(1000)]
    firsts = [{file.path for file in order(files, salt)[:100]} for salt in (1 << 31, 3 << 30, 0, 1 << 30)]
    assert len(set().union(*firsts)) == 400


@given(st.floats(0, 1e10), st.floats(0, 60), st.integers(0, 1 << 45), st.integers(0, 1024))
def test_parts_are_neither_tiny_nor_huge(rate: float, answer_s: float, left: int, connections: int) -> None:
    assert LEAST <= part_size(rate, answer_s, left, connections) <= LARGEST


def test_the_slower_a_hub_responds_the_larger_is_a_request() -> None:
    assert part_size(5e7, 0.1, 1 << 40, 16) > part_size(5e7, 0.01, 1 << 40, 16) > part_size(5e7, 0.001, 1 << 40, 16)


@given(st.integers(2, 256), st.integers(1 << 30, 1 << 40))
def test_there_is_a_part_for_every_connection_while_enough_bytes_are_left(connections: int, left: int) -> None:
    assert part_size(1e9, 0.02, left, connections) * connections <= left


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 1e9), st.floats(0, 1e9))
def test_a_part_is_divided_within_its_bounds(at: int, more: int, own: float, other: float) -> None:
    assert at <= split(at, at + more, own, other) <= at + more


def test_a_stalled_connection_keeps_nothing_and_a_lone_one_keeps_all() -> None:
    assert split(100, 200, 0.0, 5.0) == 100
    assert split(100, 200, 5.0, 0.0) == 200
    assert split(100, 200, 1.0, 3.0) == 125


@given(st.floats(0, 1e10), st.integers(1, 1 << 20), st.lists(st.floats(0, 10)))
def test_a_read_is_never_empty_and_never_larger_than_the_buffer(rate: float, most: int, took: list[float]) -> None:
    size = first_read(rate, most)
    for took_s in took:
        assert 0 < size <= most
        size = read_size(size, took_s, most)


@given(st.floats(1e4, 1e9))
def test_reads_of_a_steady_line_take_neither_microseconds_nor_seconds(rate: float) -> None:
    size = first_read(0, 1 << 20)
    for _ in range(20):
        size = read_size(size, size / rate, 1 << 20)
    first = first_read(rate, 1 << 20)
    assert {size, first} == {1 << 20} or (size / rate <= 2 and first / rate <= 2)
