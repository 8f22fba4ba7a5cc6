"""Page cache eviction: evict files, to force the next read from disk, and count the bytes that stayed."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import UsageError
from preheat.proof.conditions.page_cache_residency import cached, regular_files

_DROP = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True, slots=True)
class EvictionResult:
    """How many of the `size` bytes that should have been evicted stayed in the page cache."""

    size: int
    stayed: int

    @property
    def share(self) -> float:
        """Return the fraction that stayed, 0 to 1."""
        return min(1.0, self.stayed / self.size) if self.size else 0.0


def evict(folders: Iterable[Path]) -> EvictionResult:
    """Evict all regular files below `folders` from the page cache. See evict_files."""
    return evict_files([path for path, _ in regular_files(folders)])


def evict_files(paths: Sequence[str]) -> EvictionResult:
    """Evict files from the page cache, as far as the kernel allows (posix_fadvise(2)).

    Dirty pages are written to disk first, if needed. Mapped pages, and files that cannot be read, stay.
    """
    for path in paths:
        _drop(path)
    stubborn = [path for path in paths if cached([path])]
    for path in stubborn:
        _drop(path, written=True)
    return EvictionResult(sum(map(_size, paths)), cached(stubborn))


def drop_all_caches() -> None:
    """Drop the whole machine's page cache (proc_sys_vm(5)). Raise UsageError if the process lacks the permission."""
    os.sync()
    try:
        _DROP.write_text("1\n", encoding="ascii")
    except OSError as error:
        raise UsageError(
            "only root may drop the whole page cache",
            hint="leave out --drop-caches: the app's files are then evicted one by one",
        ) from error


def fill(folders: Iterable[Path]) -> None:
    """Read all regular files below `folders` into the page cache."""
    buffer = bytearray(1 << 20)
    for path, _ in regular_files(folders):
        try:
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass
        except OSError:
            continue


def _size(path: str) -> int:
    try:
        return Path(path).lstat().st_size
    except OSError:
        return 0


def _drop(path: str, *, written: bool = False) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if written:
            os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        pass  # pipes and sockets have no pages
    finally:
        os.close(descriptor)
