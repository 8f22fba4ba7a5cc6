"""Page cache: files are evicted and loaded, and both is measured."""

import os
import random
from pathlib import Path

import pytest

from preheat.core.errors import CheckFailed
from preheat.disk.filesystem import filesystem_of
from preheat.proof.conditions.environment_eviction import EnvironmentEviction
from preheat.proof.conditions.page_cache_eviction import EvictionResult, evict, fill
from preheat.proof.conditions.page_cache_residency import cached, regular_files
from preheat.proof.conditions.validity import require_evicted

ON_DISK = pytest.mark.skipif(filesystem_of(Path("/tmp")) == "tmpfs", reason="/tmp is on tmpfs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with 3 MB in two files, one just written, and entries that are no files."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "one.bin").write_bytes(random.Random(1).randbytes(1_000_000))
    (tmp_path / "deep" / "two.bin").write_bytes(random.Random(2).randbytes(2_000_000))
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to("one.bin")
    (tmp_path / "dangling").symlink_to("none")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@ON_DISK
def test_eviction_works_even_for_a_file_just_written(folder: Path) -> None:
    # The kernel evicts single clean pages at any time, so nearly all pages are enough.
    assert cached([folder / "one.bin"]) >= 900_000
    evicted = evict([folder])
    assert evicted.size == 3_000_000
    assert evicted.stayed == 0
    assert cached(path for path, _ in regular_files([folder])) == 0
    fill([folder])
    assert cached(path for path, _ in regular_files([folder])) >= 2_700_000


@ON_DISK
def test_mapped_pages_stay_and_are_counted(folder: Path) -> None:
    import mmap

    with open(folder / "deep" / "two.bin", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        assert sum(held[::4096]) > 0
        evicted = evict([folder])
        assert evicted.stayed >= 1_800_000
        with pytest.raises(CheckFailed, match="stayed in the page cache") as raised:
            require_evicted(evicted, "the weights")
        assert "--drop-caches" in raised.value.hint
        eviction = EnvironmentEviction()
        eviction.evict([])
        eviction.evict([folder])
        assert eviction.stayed >= 1_800_000
    assert eviction.always([folder]) == (), "the first start was not from disk"


def test_a_small_remainder_is_tolerated() -> None:
    require_evicted(EvictionResult(1_000_000, 40_000), "the weights")
    require_evicted(EvictionResult(0, 0), "the weights")
    assert EvictionResult(0, 0).share == 0


def test_missing_files_count_as_nothing(tmp_path: Path) -> None:
    assert cached([tmp_path / "none", tmp_path]) == 0
    assert evict([tmp_path / "none"]) == EvictionResult(0, 0)


@ON_DISK
def test_a_large_file_is_sampled_accurately(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(100 << 20))
    evict([tmp_path])
    assert cached([path], about=True) == 0
    with open(path, "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no more than requested
        file.read(50 << 20)
    assert cached([path], about=True) == pytest.approx(50 << 20, rel=0.05)
    assert cached([path]) == pytest.approx(50 << 20, rel=0.05)
    fill([tmp_path])
    assert cached([path], about=True) == pytest.approx(100 << 20, rel=0.05)
