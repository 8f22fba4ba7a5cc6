"""Validity: whether a measured gain is real; reasons to reject it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from preheat.core.errors import CheckFailed
from preheat.core.snapshot import File
from preheat.proof.conditions.page_cache_eviction import EvictionResult

_WEIGHTY = 1 << 20
_STAYS_AT_MOST = 0.05
_FETCHES_AT_LEAST = 0.5


def require_fetched(fetched: int, weights: int) -> None:
    """Raise CheckFailed when a cold start fetched nothing, or much less than the weights."""
    if not fetched:
        raise CheckFailed(
            "the cold start fetched nothing, so this would prove nothing",
            hint="does the app keep its models somewhere else than in HF_HOME?",
        )
    if fetched < _FETCHES_AT_LEAST * weights:
        raise CheckFailed(
            f"the cold start fetched {fetched / 1e6:.1f} MB of {weights / 1e6:.1f} MB, so it was not cold, or the "
            "recipe names more than it loads",
            hint="what else does the app read? in the recipe, name its files alone: files = […]",
        )


def require_own_weights(in_use: Iterable[str], folders: Sequence[Path], files: Sequence[File]) -> None:
    """Raise CheckFailed when a cold start used files outside `folders` that look like the needed ones.

    Alike is what has the size of a needed file of a megabyte or more, to the byte.
    """
    sizes = {file.size for file in files if file.size >= _WEIGHTY}
    for path in sorted(in_use):
        if any(Path(path).is_relative_to(folder) for folder in folders):
            continue
        if _size(path) in sizes:
            raise CheckFailed(
                f"the cold start read {path}, of the size of a needed file and there before: it was not cold",
                hint="move that away, or have the app look in HF_HOME",
            )


def require_evicted(evicted: EvictionResult, what: str) -> None:
    """Raise CheckFailed when more stayed in the page cache than a start from disk may find there."""
    if evicted.share > _STAYS_AT_MOST:
        raise CheckFailed(
            f"{evicted.share * 100:.0f} % of {what} stayed in the page cache, so the start would not be from disk",
            hint="is it on tmpfs, or in use? --library on a disk, or as root --drop-caches, or --conditions cold,warm",
        )


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1
