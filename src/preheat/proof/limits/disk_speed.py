"""Disk speed: the best rates of this machine's disk, page cache and processor, in bytes a second."""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.proof.conditions.page_cache_eviction import evict_files
from preheat.proof.limits.interruptible import sum_in_threads

_READERS = 4
_CHUNK = 1 << 20
_AT_MOST_S = 2.0
_MOST = 1 << 30
_HASHED = 64 << 20


@dataclass(frozen=True, slots=True)
class Speed:
    """Rates in bytes per second: reading from disk and page cache with several threads, and SHA-256 on one core."""

    disk: float
    page_cache: float
    sha256: float


def measure_speed(files: Sequence[Path]) -> Speed:
    """Measure the rates with `files`, first from disk, then from the page cache. Takes a few seconds at most."""
    evict_files([str(path) for path in files])
    return Speed(_read_all(files), _read_all(files), _hash())


def _read_all(files: Sequence[Path]) -> float:
    """Read files for a limited time and return the rate. The order is fixed, so a second call reads the same bytes."""
    began = time.monotonic()
    parts = list(_parts(files))

    def read(part: tuple[Path, int, int]) -> int:
        path, start, stop = part
        buffer, done = bytearray(_CHUNK), 0
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), start, stop - start, os.POSIX_FADV_SEQUENTIAL)
            file.seek(start)
            while start + done < stop and time.monotonic() - began < _AT_MOST_S:
                more = file.readinto(buffer)
                if not more:
                    break
                done += more
        return done

    done = sum_in_threads(read, parts, _READERS)
    return done / max(time.monotonic() - began, 1e-6)


def _parts(files: Sequence[Path]) -> Iterator[tuple[Path, int, int]]:
    left = _MOST
    for path in sorted(files, key=lambda path: -path.stat().st_size):
        size = min(path.stat().st_size, left)
        left -= size
        step = max(-(-size // _READERS), 8 * _CHUNK)
        for start in range(0, size, step):
            yield path, start, min(start + step, size)


def _hash() -> float:
    piece, digest = bytes(_CHUNK), hashlib.sha256()
    began = time.monotonic()
    for _ in range(_HASHED // _CHUNK):
        digest.update(piece)
    return _HASHED / max(time.monotonic() - began, 1e-6)
