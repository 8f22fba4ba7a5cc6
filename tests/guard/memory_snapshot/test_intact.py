"""Every altered byte of a dump is noticed, and the first fault ends the search."""

import threading
from pathlib import Path

import pytest

from preheat.guard.memory_snapshot.intact import PIECE, Unusable, checks_of, describe_part, first_fault, require_sizes


def fault(folder: Path, parts: dict[str, list[object]]) -> str:
    """Return what is wrong with the parts of a dump."""
    try:
        require_sizes(str(folder), parts)
    except Unusable as error:
        return str(error)
    return first_fault(checks_of(str(folder), parts))


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_part_is_intact_until_a_byte_of_it_changes(tmp_path: Path, size: int) -> None:
    pages = tmp_path / "pages-1.img"
    pages.write_bytes(bytes(size))
    parts = {"pages-1.img": describe_part(str(pages))}
    assert fault(tmp_path, parts) == ""
    for place in {0, size // 2, size - 1} if size else ():
        with open(pages, "r+b") as file:
            file.seek(place)
            file.write(b"!")
        assert fault(tmp_path, parts) == "pages-1.img was altered"
        with open(pages, "r+b") as file:
            file.seek(place)
            file.write(b"\0")
    with open(pages, "ab") as file:
        file.write(b"!")
    assert fault(tmp_path, parts) == "pages-1.img was altered"


def test_the_first_fault_is_returned_while_other_checks_still_run() -> None:
    release, gave_up = threading.Event(), threading.Event()

    def slow(hurry):  # type: ignore[no-untyped-def]
        while not hurry():
            release.wait(0.001)
        gave_up.set()
        return ""

    assert first_fault([slow, lambda _: "", lambda _: "broken", *[slow] * 50]) == "broken"
    assert gave_up.wait(10)
    assert first_fault([]) == ""
