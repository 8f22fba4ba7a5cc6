"""A partial is hashed from arriving bytes in any order, and read from the file only where needed."""

from hashlib import sha256 as hashed
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.snapshot import File
from preheat.library.blobs.partial import Partial
from preheat.library.library import Library
from tests.growth.counting import named_calls_of

_PIECE, _PIECES = 300_000, 8
DATA = Random(5).randbytes(_PIECE * _PIECES)  # over 1 MiB, so that it has a journal
FILE = File("model.bin", len(DATA), sha256(hashed(DATA).hexdigest()))


def _begin(folder: Path) -> tuple[Library, Partial]:
    library = Library(folder)
    library.prepare(len(DATA))
    partial = library.begin(FILE)
    assert partial is not None
    return library, partial


def _write(partial: Partial, piece: int) -> None:
    at = piece * _PIECE
    partial.write(at, memoryview(DATA)[at : at + _PIECE])


@settings(max_examples=20)
@given(st.permutations(range(_PIECES)), st.sets(st.integers(0, _PIECES - 1)))
def test_any_order_gives_the_same_digest(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], followed: set[int]
) -> None:
    library, partial = _begin(tmp_path_factory.mktemp("library"))
    for piece in order:
        _write(partial, piece)
        if piece in followed:
            partial.follow()
    library.keep(partial)
    assert library.path(FILE.digest).read_bytes() == DATA


def test_bytes_that_arrive_in_order_are_not_read_back(tmp_path: Path) -> None:
    library, partial = _begin(tmp_path)

    def arrive() -> None:
        for piece in range(_PIECES):
            _write(partial, piece)
            partial.follow()
        library.keep(partial)

    calls = named_calls_of(arrive)
    assert calls["pwrite"] == _PIECES
    assert calls["preadv"] == calls["_mapped"] == 0
    assert library.has(FILE.digest)


def test_bytes_after_a_gap_are_read_when_the_gap_closes(tmp_path: Path) -> None:
    library, partial = _begin(tmp_path)
    for piece in range(1, _PIECES):
        _write(partial, piece)
    _write(partial, 0)
    calls = named_calls_of(lambda: library.keep(partial))
    assert calls["preadv"] + calls["_mapped"] > 0
    assert library.has(FILE.digest)
