"""Environment eviction: evict an app's Python environments before each start from disk, and note what stayed."""

from collections.abc import Sequence
from pathlib import Path

from preheat.proof.conditions.page_cache_eviction import evict
from preheat.proof.conditions.validity import is_evicted


class EnvironmentEviction:
    """Evicts Python environments. `stayed`: the most bytes that were left in the page cache, 0 if it was always few.

    Files that other processes have mapped stay.
    """

    def __init__(self) -> None:
        self.stayed = 0
        self._known: list[tuple[Path, ...]] = []

    def evict(self, environments: Sequence[Path]) -> None:
        """Evict the environments that are known before a start."""
        result = evict(environments)
        self._known.append(tuple(environments))
        if not is_evicted(result):
            self.stayed = max(self.stayed, result.stayed)

    def always(self, environments: Sequence[Path]) -> tuple[Path, ...]:
        """Return those of the environments that were evicted before each start."""
        return tuple(one for one in environments if all(one in known for known in self._known))
