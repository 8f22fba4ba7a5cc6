"""Mirror status: collect a mirror's contents and activity for its page, JSON and metrics."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from preheat.core.ref import Ref
from preheat.core.values.replace import replace
from preheat.library.library import Library
from preheat.library.upkeep.usage import VersionUsage, survey
from preheat.mirror.http.open_connections import Crowd
from preheat.mirror.status.counters import Eviction, RequestCounter, RequestCounts
from preheat.mirror.upstream.fetches import Counts, Fetches, UnderWay

# Reading all records takes longer than rendering a page: cache them for this long.
_FRESH_S = 3.0


@dataclass(frozen=True, slots=True)
class Model:
    """A version in the library: `size` bytes cached, `missing` bytes not; `revisions` are its branches and tags."""

    ref: str
    commit: str
    revisions: tuple[str, ...]
    pinned: bool
    size: int
    missing: int


@dataclass(frozen=True, slots=True)
class Standing:
    """A mirror's status. Sizes in bytes; `stored` counts shared blobs once. `cap` is 0 if there is none."""

    up_s: float
    models: tuple[Model, ...]
    stored: int
    cap: int
    under_way: tuple[UnderWay, ...]
    fetched: Counts
    served: RequestCounts
    connections: int
    busy: int
    turned_away: int

    @property
    def saved(self) -> int:
        """Bytes sent to clients that did not come from upstream."""
        return max(0, self.served.given - self.fetched.received)


@dataclass(frozen=True, slots=True)
class Sources:
    """The objects from which the status is read; `shown` returns whether the status may name a repository."""

    library: Library
    tally: RequestCounter
    fetches: Fetches
    shown: Callable[[Ref], bool]
    cap: int = 0


class StatusReader:
    """Read the status. Thread-safe. `crowd` is set once the server exists."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources
        self.crowd: Crowd | None = None
        self._turn = threading.Lock()
        self._models: tuple[Model, ...] = ()
        self._stored = 0
        self._read_at = float("-inf")

    def __call__(self) -> Standing:
        """Return the status, without hidden repositories; raise LibraryError if a record cannot be read."""
        sources, crowd = self._from, self.crowd
        models, stored = self._listed()
        served = sources.tally.served
        seen = tuple(one for one in served.evictions if sources.shown(one.version.ref))
        return Standing(
            sources.tally.age_s,
            models,
            stored,
            sources.cap,
            tuple(one for one in sources.fetches.under_way() if sources.shown(one.ref)),
            sources.fetches.counts,
            replace(served, evictions=seen),
            len(crowd) if crowd else 0,
            crowd.busy if crowd else 0,
            crowd.turned_away if crowd else 0,
        )

    def _listed(self) -> tuple[tuple[Model, ...], int]:
        with self._turn:
            if time.monotonic() - self._read_at >= _FRESH_S:
                library = self._from.library
                found = survey(library.records, library.root / "blobs", library.pins)
                self._models = tuple(_model(one) for one in found.versions if self._from.shown(one.ref))
                self._stored = found.stored
                self._read_at = time.monotonic()
            return self._models, self._stored


def write_standing(standing: Standing) -> bytes:
    """Encode the status as JSON."""
    under_way = [
        {"ref": str(one.ref), "path": one.path, "done": one.done, "size": one.size, "clients": one.clients}
        for one in standing.under_way
    ]
    answers = {str(status): count for status, count in sorted(standing.served.answers.items())}
    served = {"answers": answers, "sent": standing.served.sent, "given": standing.served.given}
    evicted = {
        "versions": standing.served.evicted,
        "size": standing.served.evicted_size,
        "last": [_eviction(one) for one in standing.served.evictions],
    }
    return msgspec.json.encode(
        {
            "up_s": round(standing.up_s, 1),
            "library": {"size": standing.stored, "cap": standing.cap or None, "models": standing.models},
            "fetches": under_way,
            "upstream": standing.fetched,
            "served": served,
            "saved": standing.saved,
            "evicted": evicted,
            "connections": {
                "open": standing.connections, "busy": standing.busy, "turned_away": standing.turned_away,
            },
        }
    )  # fmt: skip


def _eviction(one: Eviction) -> dict[str, object]:
    version, at = one.version, datetime.fromtimestamp(one.at, UTC).isoformat(timespec="seconds")
    return {"time": at, "ref": str(version.ref), "commit": version.commit, "size": version.size}


def _model(version: VersionUsage) -> Model:
    ref = version.ref
    return Model(
        str(ref.at(ref.branch)), ref.revision, version.revisions, version.pinned, version.size, version.missing
    )
