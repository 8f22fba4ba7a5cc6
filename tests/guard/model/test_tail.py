"""The tail: bounded, in order, with matchers for lines."""

import re

from hypothesis import given
from hypothesis import strategies as st

from preheat.guard.model.tail import MOST_BYTES, MOST_LINES, Tail


@given(st.lists(st.binary(max_size=300), max_size=40))
def test_the_lines_are_the_same_however_the_output_is_cut(chunks: list[bytes]) -> None:
    in_pieces, at_once = Tail(), Tail()
    for chunk in chunks:
        in_pieces.feed(1, chunk)
    at_once.feed(1, b"".join(chunks))
    assert in_pieces.lines() == at_once.lines()


def test_only_the_last_lines_are_kept() -> None:
    tail = Tail()
    tail.feed(1, b"".join(b"%d\n" % number for number in range(1000)))
    assert tail.lines() == tuple(str(number) for number in range(1000 - MOST_LINES, 1000))
    assert tail.lines(2) == ("998", "999")
    assert tail.lines(0) == ()


def test_long_lines_do_not_fill_the_memory() -> None:
    tail = Tail()
    for _ in range(50):
        tail.feed(1, b"x" * 100_000)
        tail.feed(2, b"y" * 30_000 + b"\n")
    assert sum(map(len, tail.lines())) <= 3 * MOST_BYTES


def test_two_streams_do_not_mix_within_a_line() -> None:
    tail = Tail()
    tail.feed(1, b"one ")
    tail.feed(2, b"two\n")
    tail.feed(1, b"three\n")
    assert tail.lines() == ("two", "one three")


def test_a_progress_bar_is_stored_as_a_terminal_shows_it() -> None:
    tail = Tail()
    tail.feed(1, b"10%\r50%\r100%\ndone\r\n")
    assert tail.lines() == ("100%", "done")


def test_a_line_is_matched_even_if_it_scrolls_away_at_once() -> None:
    tail = Tail()
    matcher = tail.watch(re.compile("Running on .*7860"))
    tail.feed(1, b"Running on http://127.0.0.1:7860\n" + b"noise\n" * 500)
    assert matcher.seen


def test_a_stored_line_is_matched_later() -> None:
    tail = Tail()
    tail.feed(1, b"ready\n")
    assert tail.watch(re.compile("^ready$")).seen
    assert not tail.watch(re.compile("steady")).seen


def test_a_line_is_matched_before_it_ends_and_across_two_chunks() -> None:
    tail = Tail()
    matcher = tail.watch(re.compile("ready>"))
    tail.feed(1, b"rea")
    assert not matcher.seen
    tail.feed(1, b"dy> ")
    assert matcher.seen
