"""Logs of the tracer are parsed, also truncated ones."""

import json

from hypothesis import given
from hypothesis import strategies as st

from preheat.recipes.inference.trace_log import read_notes

LINES = [
    ["start", 1.0, "/usr/bin/python", 7],
    ["open", 2.0, "/a", "w"],
    ["rename", 3.0, "/a", "/b"],
    ["copy", 4.0, "/b", "/c"],
    ["http", 5.0, "GET", "https://h/x", 200, None, "", ["nltk"]],
    ["lookup", 6.0, "h", 443, ["nltk"]],
    ["connect", 6.5, "192.0.2.1", 443, ["nltk"]],
    ["new kind of note", 7.0, {}],
]
TEXT = "".join(json.dumps(line) + "\n" for line in LINES)


def test_a_complete_log_is_parsed() -> None:
    notes = read_notes([TEXT, ""])
    assert notes.processes == 2
    assert [(access.path, access.wrote) for access in notes.accesses] == [("/a", True)]
    assert notes.final("/a") == "/b"
    assert notes.copied == (("/b", "/c"),)
    assert notes.replies[0].size is None
    assert [aim.lookup for aim in notes.aims] == [True, False]


@given(st.integers(0, len(TEXT)))
def test_a_truncated_log_is_parsed_up_to_the_cut(end: int) -> None:
    notes = read_notes([TEXT[:end]])
    assert len(notes.accesses) == TEXT[:end].count('"w"]')
    assert len(notes.replies) == TEXT[:end].count('"", ["nltk"]]')


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"))), st.sampled_from("abcd"))
def test_a_cycle_of_renames_ends(renames: list[tuple[str, str]], path: str) -> None:
    lines = [
        json.dumps(["rename", index, f"/{source}", f"/{target}"]) for index, (source, target) in enumerate(renames)
    ]
    assert read_notes(["\n".join(lines)]).final(f"/{path}").startswith("/")


@given(st.text())
def test_no_content_of_a_log_is_an_error(text: str) -> None:
    assert read_notes([text]).processes == 1
