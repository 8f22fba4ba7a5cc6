"""Pull: bring a model into the library."""

from collections.abc import Sequence
from dataclasses import dataclass

from preheat.events import Listener, Resolved
from preheat.hub import Hub
from preheat.library.library import Library
from preheat.ref import Ref
from preheat.snapshot import Snapshot
from preheat.transfer.fetch import fetch
from preheat.transfer.plan import Policy


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought: the files asked for, and how many of their bytes were not here before."""

    snapshot: Snapshot
    fetched: int


def pull(
    ref: Ref, hub: Hub, library: Library, policy: Policy, on_event: Listener, patterns: Sequence[str] = ()
) -> Pulled:
    """Resolve `ref`, fetch what is missing of the files that match `patterns`, verify and record it.

    Raise HubError, IntegrityError or LibraryError; what arrived by then is gone on from next time.
    """
    snapshot = hub.resolve(ref)
    wanted = snapshot.only(patterns)
    missing = library.missing(wanted)
    to_come = sum(file.size for file in missing)
    on_event(Resolved(ref, snapshot.commit, len(wanted.files), wanted.size, len(missing), to_come))
    if missing:
        library.prepare(sum(file.size - library.partial_size(file) for file in missing))
        fetch(snapshot, missing, hub, library, policy, on_event)
    library.record(snapshot)
    return Pulled(wanted, to_come)
