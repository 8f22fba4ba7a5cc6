"""File hash: the hashers get the bytes that are on disk, mapped or read."""

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from preheat.disk.file_hash import feed, feed_directly

WINDOW = 4 << 20


@pytest.mark.parametrize(
    ("size", "start", "stop"),
    [
        (0, 0, 100),
        (10, 0, 10),
        (10, 3, 7),
        (1_000_000, 0, 1_000_000),
        (1_000_000, 777, 999_999),
        (2 * WINDOW + 5, 0, 2 * WINDOW + 5),
        (2 * WINDOW + 5, 4097, WINDOW + 4098),
        (WINDOW + 100, 1, 3 * WINDOW),
    ],
)
def test_the_hash_is_that_of_the_files_bytes(tmp_path: Path, size: int, start: int, stop: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    hashing, also = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        assert feed(descriptor, start, stop, [hashing, also]) == min(stop, max(size, start))
    finally:
        os.close(descriptor)
    assert hashing.hexdigest() == hashlib.sha256(data[start:stop]).hexdigest()
    assert also.hexdigest() == hashlib.sha1(data[start:stop], usedforsecurity=False).hexdigest()


def test_a_file_that_cannot_be_mapped_is_read(tmp_path: Path) -> None:
    # A file in /proc has the size 0 and some bytes.
    descriptor = os.open("/proc/self/status", os.O_RDONLY)
    hashing = hashlib.sha256()
    try:
        assert feed(descriptor, 0, WINDOW, [hashing]) > 100
    finally:
        os.close(descriptor)


def test_an_unreadable_file_is_an_error_not_a_signal(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            feed(descriptor, 0, 10, [hashlib.sha256()])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4 << 20, (4 << 20) + 1, (9 << 20) + 77])
@pytest.mark.parametrize("place", [None, Path("/dev/shm")])
def test_reading_past_the_page_cache_gives_the_same_hash(tmp_path: Path, size: int, place: Path | None) -> None:
    body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    with tempfile.NamedTemporaryFile(dir=place or tmp_path) as file:
        file.write(body)
        file.flush()
        descriptor, read = os.open(file.name, os.O_RDONLY), hashlib.sha256()
        steps: list[int] = []
        try:
            assert feed_directly(descriptor, (read,), steps.append) == size
            assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
        finally:
            os.close(descriptor)
    assert read.hexdigest() == hashlib.sha256(body).hexdigest()
    assert sum(steps) == size
