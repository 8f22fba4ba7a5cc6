"""Bytes that clients read during a download: each in its place and once, and the end only after verification."""

import os
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preheat.core.digest import sha256
from preheat.core.errors import IntegrityError
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.library.blobs.ranges import ByteRange, merge
from preheat.mirror.http.messages import BrokenOff
from preheat.mirror.upstream.arriving_blob import HELD_BACK, Arrival, _add, _upto

SIZE = 24 * HELD_BACK
BODY = os.urandom(SIZE)

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)).map(lambda pair: ByteRange(pair[0], sum(pair))))


@given(ranges)
def test_adding_ranges_one_by_one_equals_merging_them(parts: list[ByteRange]) -> None:
    here: list[ByteRange] = []
    for part in parts:
        _add(here, part)
    assert here == merge(parts)


@given(ranges, st.integers(0, 90))
def test_all_bytes_up_to_the_returned_offset_are_present(parts: list[ByteRange], at: int) -> None:
    here = merge(parts)
    known = {byte for start, stop in here for byte in range(start, stop)}
    upto = _upto(here, at)
    assert upto >= at
    assert set(range(at, upto)) <= known
    assert upto not in known


class Coming:
    """A file that arrives as a test decides."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "coming"
        self.path.write_bytes(bytes(SIZE))
        self.arrival = Arrival(Ref.parse("acme/tiny"), File("a", SIZE, sha256("5f" * 32)), folder / "kept")
        self.arrival.began(self.path, [])

    def write(self, start: int, stop: int, body: bytes = BODY) -> None:
        with open(self.path, "r+b") as file:
            file.seek(start)
            file.write(body[start:stop])
        self.arrival.wrote(ByteRange(start, stop))

    def read(self, start: int = 0, stop: int = SIZE) -> bytes:
        """Read as the server does."""
        age = self.arrival.await_first(start, stop)
        got = b""
        with closing(self.arrival.pieces(start, stop, age)) as pieces:
            for file, at, upto in pieces:
                assert at == start + len(got)
                got += os.pread(file.fileno(), upto - at, at)
        return got


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(12)), st.integers(0, SIZE - 1), st.integers(1, SIZE))
def test_each_client_gets_its_bytes_in_any_order_of_arrival(
    tmp_path: Path, order: list[int], start: int, size: int
) -> None:
    coming = Coming(tmp_path)
    spans = [(0, SIZE), (start, min(SIZE, start + size))]
    got: dict[tuple[int, int], bytes] = {}
    readers = [threading.Thread(target=lambda span=span: got.update({span: coming.read(*span)})) for span in spans]
    for reader in readers:
        reader.start()
    step = SIZE // 12
    for place in order:
        coming.write(place * step, (place + 1) * step)
    coming.arrival.end(None)
    for reader in readers:
        reader.join(20)
    assert got == {span: BODY[span[0] : span[1]] for span in spans}
    assert coming.arrival.clients == 0


def test_the_end_of_a_whole_response_waits_for_the_digest(tmp_path: Path) -> None:
    coming = Coming(tmp_path)
    coming.write(0, SIZE)
    with closing(coming.arrival.pieces(0, SIZE, 0)) as pieces:
        stop = 0
        while stop < SIZE - HELD_BACK:
            _, _, stop = next(pieces)
        assert stop == SIZE - HELD_BACK
        coming.arrival.end(IntegrityError("wrong"))
        with pytest.raises(BrokenOff):
            next(pieces)


def test_a_part_is_sent_as_it_arrives_but_not_after_it_was_found_wrong(tmp_path: Path) -> None:
    coming = Coming(tmp_path)
    coming.write(0, SIZE)
    end = SIZE - HELD_BACK
    assert coming.read(10, end) == BODY[10:end]
    with closing(coming.arrival.pieces(1, end, 0)) as pieces:
        _, _, stop = next(pieces)
        assert stop < end, "while a piece is sent, the client is not looked after"
        coming.arrival.forgot([])
        with pytest.raises(BrokenOff):
            next(pieces)
    # A client that comes after that has received no wrong byte.
    coming.write(0, SIZE)
    assert coming.read(10, end) == BODY[10:end]


@given(start=st.integers(0, SIZE - 1))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_part_that_completes_a_file_is_sent_before_verification(tmp_path: Path, start: int) -> None:
    coming = Coming(tmp_path)
    coming.write(0, SIZE)
    got: list[int] = []
    ending = threading.Timer(0.02, lambda: coming.arrival.end(IntegrityError("wrong")))
    ending.start()
    with closing(coming.arrival.pieces(start, SIZE, 0)) as pieces, pytest.raises(BrokenOff):
        got.extend(stop for _, _, stop in iter(lambda: next(pieces), None))
    ending.join()
    assert all(stop <= SIZE - HELD_BACK for stop in got)
    assert coming.arrival.spoilt


def test_a_failure_before_the_first_byte_can_become_an_error_response(tmp_path: Path) -> None:
    coming = Coming(tmp_path)
    ending = threading.Timer(0.1, lambda: coming.arrival.end(IntegrityError("wrong")))
    ending.start()
    with pytest.raises(IntegrityError):
        coming.arrival.await_first(0, SIZE)
    ending.join()


def test_waiting_readers_take_turns(tmp_path: Path) -> None:
    coming = Coming(tmp_path)
    assert coming.arrival.wanted() is None
    readers = [threading.Thread(target=coming.read, args=(at, at + 10)) for at in (5_000, 9_000)]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + 20
    while {coming.arrival.wanted() for _ in range(2)} != {5_000, 9_000}:
        assert time.monotonic() < deadline
    for at in (5_000, 9_000):
        coming.write(at, at + 10)
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()
    assert coming.arrival.wanted() is None


def test_a_reader_finds_the_file_after_it_was_renamed(tmp_path: Path) -> None:
    coming = Coming(tmp_path)
    coming.write(0, SIZE)
    coming.path.rename(tmp_path / "kept")
    coming.arrival.end(None)
    assert coming.read() == BODY
