"""Pipe: what goes in comes out where it belongs, also where a file takes no splicing."""

import os
import socket
from pathlib import Path

import pytest

from preheat.disk.splice import Pipe

DATA = bytes(range(256)) * 1000


@pytest.mark.parametrize("flags", [0, os.O_APPEND], ids=["spliced", "copied"])
def test_bytes_go_from_a_socket_to_their_place_in_a_file(tmp_path: Path, flags: int) -> None:
    # A file that is only appended to takes no splicing, and takes all writes at its end.
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    ours, theirs = socket.socketpair()
    pipe = Pipe(1 << 20)
    descriptor = os.open(path, os.O_RDWR | flags)
    with ours, theirs:
        at = 1000
        for start in range(0, len(DATA), 50_000):
            theirs.sendall(DATA[start : start + 50_000])
            while pipe.held < min(50_000, len(DATA) - start):
                assert pipe.take_in(ours.fileno(), 1 << 20)
            held = pipe.held
            pipe.let_out(descriptor, at, held)
            assert pipe.held == 0
            at += held
        theirs.close()
        assert pipe.take_in(ours.fileno(), 1 << 20) == 0
    os.close(descriptor)
    pipe.close()
    assert path.read_bytes() == bytes(1000) + DATA


def test_what_is_not_wanted_of_it_does_not_come_later(tmp_path: Path) -> None:
    pipe = Pipe(1 << 20)
    pipe.put_in(DATA[:50_000])
    with open(tmp_path / "file", "wb+") as file:
        pipe.let_out(file.fileno(), 3, 7)
        assert pipe.held == 49_993
        pipe.empty()
        pipe.put_in(b"new")
        pipe.let_out(file.fileno(), 10, 3)
    pipe.close()
    assert (tmp_path / "file").read_bytes() == bytes(3) + DATA[:7] + b"new"


def test_a_full_disk_is_said_and_the_bytes_are_thrown_away() -> None:
    pipe = Pipe(1 << 20)
    pipe.put_in(DATA[:5000])
    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space"):
        pipe.let_out(full, 0, 5000)
    pipe.empty()
    assert pipe.held == 0
    os.close(full)
    pipe.close()
