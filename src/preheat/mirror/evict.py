"""Evict: keep the library below a size, at the cost of the versions that nobody has used for longest."""

import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from preheat.errors import PreheatError
from preheat.library.inventory import inventory
from preheat.library.library import Library
from preheat.library.sweep import Sweep
from preheat.ref import Ref

# Whoever was given a listing a moment ago comes for the files.
YOUNG_S = 600.0
_LOOK_S = 30.0


@dataclass(frozen=True, slots=True)
class Version:
    """A recorded commit, the blobs it needs by `algorithm:hex`, and when it was last used."""

    ref: Ref
    blobs: frozenset[str]
    used_at: float


def candidates(
    versions: Iterable[Version], pinned: Collection[tuple[str, str, str]], held: Collection[str], before: float
) -> list[Version]:
    """Say which versions may go, the longest unused first: not pinned, not used since `before`, none of it `held`.

    A view, a run or a pull that holds a blob of a version needs its record too.
    """
    free = [
        version
        for version in versions
        if (version.ref.hub, version.ref.slug, version.ref.revision) not in pinned
        and version.used_at < before
        and version.blobs.isdisjoint(held)
    ]
    return sorted(free, key=lambda version: (version.used_at, str(version.ref)))


class Evictor:
    """Watches one library in a thread of its own, between `start` and `stop`.

    `gone` is told how many versions went and how many bytes that freed; `on_error` what kept it from working.
    """

    def __init__(
        self,
        library: Library,
        cap: int,
        gone: Callable[[int, int], None],
        on_error: Callable[[PreheatError], None],
        young_s: float = YOUNG_S,
    ) -> None:
        self._library = library
        self._cap = cap
        self._gone = gone
        self._on_error = on_error
        self._young_s = young_s
        self._sweep = Sweep(library.root)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="evict", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; wait for what is being removed."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def once(self, now: float | None = None) -> int:
        """Free what is above the cap, as far as that can be; return how many bytes."""
        above = self._stored() - self._cap
        if above <= 0:
            return 0
        before = (now or time.time()) - self._young_s
        going: list[Version] = []
        plan = self._sweep.plan(only=())
        for version in candidates(self._versions(), self._library.pins.all(), self._sweep.holders().keys(), before):
            if plan.size >= above:
                break
            going.append(version)
            wanted = frozenset[str]().union(*(one.blobs for one in going))
            plan = self._sweep.plan(only=wanted, gone={one.ref for one in going})
        freeing = {str(name) for blob in plan.blobs for name in blob.names}
        # What only shares its blobs with those that stay would free nothing, and is still whole.
        going = [version for version in going if version.blobs & freeing]
        for version in going:
            self._forget(version)
        freed = self._sweep.carry_out(plan) if going else 0
        if going:
            self._gone(len(going), freed)
        return freed

    def _forget(self, version: Version) -> None:
        snapshot = self._library.find(version.ref)
        if snapshot is not None and snapshot not in self._library.pins:
            self._library.records.remove(snapshot)

    def _versions(self) -> list[Version]:
        records = self._library.records
        return [
            Version(record.ref, frozenset(file.digest for file in record.files), records.used_at(record.ref))
            for record in records.listed()
        ]

    def _stored(self) -> int:
        blobs = sum(blob.blocks for blob in inventory(self._library.root / "blobs"))
        partials = 0
        for path in (self._library.root / "partial").rglob("*.part"):
            try:
                partials += path.stat().st_blocks * 512
            except FileNotFoundError:
                continue  # sealed meanwhile
        return blobs + partials

    def _watch(self) -> None:
        took_s = 0.0
        # A library of very many blobs is not looked through all the time.
        while not self._stopped.wait(max(_LOOK_S, 20 * took_s)):
            began = time.monotonic()
            try:
                self.once()
            except PreheatError as error:
                self._on_error(error)
            except OSError as error:
                self._on_error(PreheatError(f"the library cannot be kept below its cap: {error}"))
            took_s = time.monotonic() - began
