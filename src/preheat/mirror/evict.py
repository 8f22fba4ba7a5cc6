"""Evict: keep the library below a size cap by deleting the least recently used downloads."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from preheat.core.errors import PreheatError, UsageError
from preheat.core.events import Evicted, Listener, Noted
from preheat.core.ref import Ref
from preheat.core.units import say_size
from preheat.library.library import Library
from preheat.library.records.records import MIRROR
from preheat.library.upkeep.inventory import Blob, inventory, partial_bytes
from preheat.library.upkeep.sweep import Sweep

# A client that has just listed a version is about to download its files.
YOUNG_S = 600.0
_LOOK_S = 30.0


@dataclass(frozen=True, slots=True)
class EvictableVersion:
    """A recorded commit, its blobs as `algorithm:hex`, and the time of its last use; `by` is `mirror` for downloads."""

    ref: Ref
    blobs: frozenset[str]
    used_at: float
    by: str = MIRROR


def candidates(
    versions: Iterable[EvictableVersion], pinned: Collection[tuple[str, str, str]], held: Collection[str], before: float
) -> list[EvictableVersion]:
    """Return the versions that may be evicted, least recently used first.

    They were downloaded by the mirror, have not been used since `before`, are not pinned, and none of their blobs is
    `held`: a view, run or pull that holds a blob of a version also needs its record.
    """
    free = [
        version
        for version in versions
        if version.by == MIRROR
        and (version.ref.hub, version.ref.slug, version.ref.revision) not in pinned
        and version.used_at < before
        and version.blobs.isdisjoint(held)
    ]
    return sorted(free, key=lambda version: (version.used_at, str(version.ref)))


def choose(
    free: Iterable[EvictableVersion], versions: Iterable[EvictableVersion], blobs: Iterable[Blob], above: int
) -> list[tuple[EvictableVersion, int]]:
    """Return the first of `free` that together free `above` bytes, each with the disk space that its eviction frees.

    `versions` are all versions, including the free ones. A version whose blobs are all shared with remaining versions
    is not evicted, because that would free nothing. Linear in records and blobs.
    """
    by_name = {str(name): blob for blob in blobs for name in blob.names}
    users = Counter(blob for version in versions for blob in _blobs_of(version, by_name))
    going: list[tuple[EvictableVersion, int]] = []
    freed: set[Blob] = set()
    for version in free:
        if above <= 0:
            break
        own = _blobs_of(version, by_name)
        users.subtract(own)
        last = {blob for blob in own if users[blob] == 0}
        freed |= last
        size = sum(blob.blocks for blob in last)
        going.append((version, size))
        above -= size
    return [(version, size) for version, size in going if not freed.isdisjoint(_blobs_of(version, by_name))]


def require_cap(library: Library, cap: int, on_event: Listener) -> None:
    """Raise UsageError if pinned versions exceed `cap` bytes; emit an event if those never to be evicted exceed it."""
    by_name = {str(name): blob for blob in inventory(library.root / "blobs") for name in blob.names}
    pins = library.pins.all()
    pinned: set[Blob] = set()
    by_hand: set[Blob] = set()
    for version in _versions(library):
        blobs = _blobs_of(version, by_name)
        if (version.ref.hub, version.ref.slug, version.ref.revision) in pins:
            pinned |= blobs
        elif version.by != MIRROR:
            by_hand |= blobs
    size = sum(blob.blocks for blob in pinned)
    if size > cap:
        raise UsageError(
            f"--size-cap is {say_size(cap)}, but pinned versions need {say_size(size)}",
            hint=f"use --size-cap {-(-size // 10**9)}G or more, or preheat unpin NAME",
        )
    kept = sum(blob.blocks for blob in pinned | by_hand)
    if kept > cap:
        said = f"pinned, pulled or adopted by hand and so never evicted: {say_size(kept)}, more than {say_size(cap)}"
        on_event(Noted("size cap", said))


class Evictor:
    """Watch a library's size in a thread, between `start` and `stop`.

    `on_event` receives each eviction, and one notice when the cap cannot be met; `on_error` receives errors of the
    evictor.
    """

    def __init__(
        self,
        library: Library,
        cap: int,
        on_event: Listener,
        on_error: Callable[[PreheatError], None],
        young_s: float = YOUNG_S,
    ) -> None:
        self._library = library
        self._cap = cap
        self._on_event = on_event
        self._on_error = on_error
        self._young_s = young_s
        self._sweep = Sweep(library.root)
        self._told_above = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="evict", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait up to 10 seconds for a running eviction."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def once(self, now: float | None = None) -> int:
        """Evict until the library is below the cap, as far as possible; return the bytes freed."""
        blobs = list(inventory(self._library.root / "blobs"))
        above = sum(blob.blocks for blob in blobs) + partial_bytes(self._library.root) - self._cap
        if above <= 0:
            self._told_above = False
            return 0
        before = (now or time.time()) - self._young_s
        versions = _versions(self._library)
        free = candidates(versions, self._library.pins.all(), self._sweep.holders().keys(), before)
        going = choose(free, versions, blobs, above)
        freed = self._evict(going) if going else 0
        if freed < above:
            self._tell_above(above - freed)
        return freed

    def _evict(self, going: list[tuple[EvictableVersion, int]]) -> int:
        wanted = frozenset[str]().union(*(version.blobs for version, _ in going))
        plan = self._sweep.plan(only=wanted, gone={version.ref for version, _ in going})
        forgotten = [(self._forget(version), version, size) for version, size in going]
        freed = self._sweep.carry_out(plan)
        for revisions, version, size in forgotten:
            if revisions is not None:
                self._on_event(Evicted(version.ref.at(version.ref.branch), version.ref.revision, revisions, size))
        return freed

    def _forget(self, version: EvictableVersion) -> tuple[str, ...] | None:
        """Delete a version's record; return the branches and tags that named it, None if it must stay after all."""
        library = self._library
        snapshot = library.find(version.ref)
        if snapshot is None or snapshot in library.pins or library.records.added_by(version.ref) != MIRROR:
            return None
        named = sorted(name for name, commit in library.revisions(version.ref).items() if commit == snapshot.commit)
        library.records.remove(snapshot)
        return tuple(named)

    def _tell_above(self, size: int) -> None:
        if not self._told_above:
            why = "the rest is pinned, was pulled or adopted by hand, is in use by a view or pull, or was used recently"
            self._on_event(Noted("size cap", f"the library is {say_size(size)} above the cap: {why}"))
        self._told_above = True

    def _watch(self) -> None:
        wait_s = 0.0
        while not self._stopped.wait(wait_s):
            began = time.monotonic()
            try:
                self.once()
            except PreheatError as error:
                self._on_error(error)
            except OSError as error:
                self._on_error(PreheatError(f"cannot keep the library below its size cap: {error}"))
            # Spend at most 5 % of the time scanning, however many blobs there are.
            wait_s = max(_LOOK_S, 20 * (time.monotonic() - began))


def _versions(library: Library) -> list[EvictableVersion]:
    records = library.records
    return [
        EvictableVersion(one.ref, frozenset(file.digest for file in one.files), records.used_at(one.ref), one.by)
        for one in records.listed()
    ]


def _blobs_of(version: EvictableVersion, by_name: dict[str, Blob]) -> set[Blob]:
    return {by_name[name] for name in version.blobs if name in by_name}
