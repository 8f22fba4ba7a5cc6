"""Validity: reject a measurement that is not valid, with a reason."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from preheat.core.errors import CheckFailed
from preheat.core.snapshot import File
from preheat.proof.conditions.page_cache_eviction import EvictionResult

_WEIGHTY = 1 << 20
_STAYS_AT_MOST = 0.05
_FETCHES_AT_LEAST = 0.5


def require_fetched(fetched: int, weights: int) -> None:
    """Raise CheckFailed if a cold start downloaded nothing, or less than half of the weights."""
    if not fetched:
        raise CheckFailed(
            "the cold start downloaded nothing, so the comparison would be meaningless",
            hint="check whether the app keeps its models outside HF_HOME",
        )
    if fetched < _FETCHES_AT_LEAST * weights:
        raise CheckFailed(
            f"the cold start downloaded {fetched / 1e6:.1f} MB of {weights / 1e6:.1f} MB, so it was not cold, or the "
            "recipe lists files that the app does not load",
            hint="check what the app reads; in the recipe, list only those files: files = […]",
        )


def require_own_weights(in_use: Iterable[str], folders: Sequence[Path], files: Sequence[File]) -> None:
    """Raise CheckFailed if a cold start used files outside `folders` that look like the needed weights.

    A file matches if it has exactly the size of a needed file of 1 MiB or more.
    """
    sizes = {file.size for file in files if file.size >= _WEIGHTY}
    for path in sorted(in_use):
        if any(Path(path).is_relative_to(folder) for folder in folders):
            continue
        if _size(path) in sizes:
            raise CheckFailed(
                f"the cold start read {path}, which existed before and has a needed file's size: it was not cold",
                hint="move the file away, or make the app use HF_HOME",
            )


def is_evicted(evicted: EvictionResult) -> bool:
    """Return whether little enough stayed in the page cache for a start from disk."""
    return evicted.share <= _STAYS_AT_MOST


def require_evicted(evicted: EvictionResult, what: str) -> None:
    """Raise CheckFailed if too much stayed in the page cache for a start from disk. `what` names the files."""
    if not is_evicted(evicted):
        raise CheckFailed(
            f"{evicted.share * 100:.0f} % of {what} stayed in the page cache, so the start would not be from disk",
            hint="use a --library on disk, not tmpfs; or --drop-caches as root, or --conditions cold,warm",
        )


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1
