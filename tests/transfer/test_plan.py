"""Laws of the plan: each gap once, nothing else, the largest file first."""

from hypothesis import given
from hypothesis import strategies as st

from preheat.digest import sha256
from preheat.library.ranges import Range, gaps
from preheat.snapshot import File
from preheat.transfer.plan import cut, order, part_size


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda pair: Range(*pair))), st.integers(1, 97))
def test_the_plan_covers_each_gap_once(here: list[Range], size: int) -> None:
    missing = gaps(500, here)
    covered = [at for start, stop in cut(missing, size) for at in range(start, stop)]
    assert covered == [at for start, stop in missing for at in range(start, stop)]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda pair: Range(*pair))), st.integers(1, 97))
def test_no_part_is_empty_or_larger_than_asked(here: list[Range], size: int) -> None:
    assert all(0 < stop - start <= size for start, stop in cut(gaps(500, here), size))


@given(st.lists(st.integers(0, 1 << 40), max_size=20))
def test_the_largest_file_comes_first_whatever_order_they_were_listed_in(sizes: list[int]) -> None:
    files = [File(f"f{n}", size, sha256(f"{n:064x}")) for n, size in enumerate(sizes)]
    ordered = order(files)
    assert [file.size for file in ordered] == sorted(sizes, reverse=True)
    assert order(reversed(files)) == ordered


@given(st.integers(0, 1 << 45), st.integers(1, 1024))
def test_a_part_is_never_so_large_that_it_outlasts_the_rest(total: int, connections: int) -> None:
    assert 1 << 20 <= part_size(total, connections) <= 32 << 20
