"""Fetches: one download for each digest, for any number of clients."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from preheat.core.digest import Digest
from preheat.core.errors import HubUnavailable, IntegrityError, PreheatError
from preheat.core.events import Away, Event, Listener, Noted, Received
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.blobs.running_hash import SMALL
from preheat.library.library import Library
from preheat.mirror.upstream.arriving_blob import Arrival
from preheat.mirror.upstream.spoiled_files import Spoilt
from preheat.transfer.fetch import Policy, fetch
from preheat.transfer.route import Lines, Way

# More files than that are not fetched at once, apart from as many small ones; for one more, a fetch that no client has
# waited for that long is stopped, or the client is told to come again.
MOST_FETCHES = 32
_LONELY_S = 2.0
_SOON_S = 0.25
# A file whose bytes were wrong as often, one fetch after the other, is not fetched for a while: clients that begin
# again by themselves would never end.
_WRONG_OFTEN, _WRONG_S = 2, 60.0
_MOST_WRONG = 1_000
_CONNECTIONS = 48  # of the first fetch; each has a buffer of up to 1 MiB


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A fetch: of which file, how many of its bytes are here, and how many clients read it now."""

    ref: Ref
    path: str
    done: int
    size: int
    clients: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Answers with a file that was here, and with one that was not; files fetched; bytes of bodies from upstream."""

    hits: int = 0
    misses: int = 0
    fetched: int = 0
    failed: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class Errand:
    """What to fetch, and how: `helpers` as of `fetch`. `keep` writes down what it is for, beside it."""

    snapshot: Snapshot
    file: File
    way: Way
    helpers: Sequence[Callable[[], Way | None]] = ()
    keep: Callable[[], None] = lambda: None


class Fetches:
    """Threads may share it. A fetch ends when its file is in the library or cannot be had, and not before.

    Clients are broken off when nothing has come for `silence_s` seconds.
    """

    def __init__(self, library: Library, policy: Policy, on_event: Listener, silence_s: float = 75.0) -> None:
        self._library = library
        self._policy = policy
        self._silence_s = silence_s
        self._on_event = on_event
        self._spoilt = Spoilt(library.root)
        self._turn = threading.Lock()
        self._arrivals: dict[Digest, Arrival] = {}
        self._wrong: dict[Digest, tuple[int, float]] = {}  # how often in a row, and when last
        self._counts = Counts()

    def under_way(self) -> list[UnderWay]:
        """List the fetches under way, in the order they began."""
        with self._turn:
            arrivals = list(self._arrivals.values())
        return [UnderWay(one.ref, one.file.path, one.done, one.file.size, one.clients) for one in arrivals]

    @property
    def counts(self) -> Counts:
        """What was counted since the start."""
        with self._turn:
            return self._counts

    def hit(self) -> None:
        """Count an answer with a file that was here."""
        self._count(hits=1)

    def continues(self, file: File) -> bool:
        """Whether a client may go on with what it has of a file: no bytes of it have turned out wrong."""
        with self._turn:
            arrival = self._arrivals.get(file.digest)
        return not (arrival is not None and arrival.spoilt) and not self._spoilt.has(file.digest)

    def join(self, errand: Errand) -> Arrival:
        """Return the fetch of a file, begun now if none is under way; raise HubUnavailable while there are too many."""
        file = errand.file
        with self._turn:
            arrival = self._arrivals.get(file.digest)
            times, at = self._wrong.get(file.digest, (0, 0.0))
            if arrival is None:
                if times >= _WRONG_OFTEN and time.monotonic() - at < _WRONG_S:
                    raise IntegrityError(f"{file.path}: the upstream has sent wrong bytes {times} times")
                self._make_room(file)
                arrival = Arrival(errand.snapshot.ref, file, self._library.path(file.digest), self._silence_s)
                self._arrivals[file.digest] = arrival
                self._library.watchers[file.digest] = arrival
                self._begin(arrival, errand)
            elif arrival.file.size != file.size:
                # By which of the two sizes an answer is complete will be known when the digest is.
                raise IntegrityError(
                    f"{file.path}: it is being fetched, and was said to have {arrival.file.size} bytes"
                )
        self._count(misses=1)
        return arrival

    def _make_room(self, file: File) -> None:
        """Stop a fetch that no client waits for, if a slot for one more file is needed; raise HubUnavailable."""
        alike = [one for one in self._arrivals.values() if (one.file.size > SMALL) == (file.size > SMALL)]
        going = sum(one.stopped for one in alike)
        if len(alike) - going < MOST_FETCHES:
            return
        lonely = [one for one in alike if not one.stopped and one.lonely_s >= _LONELY_S]
        if not lonely or going >= MOST_FETCHES:
            raise HubUnavailable(f"this mirror fetches {MOST_FETCHES} files already", wait_s=5.0)
        max(lonely, key=lambda one: one.lonely_s).stop()

    def _begin(self, arrival: Arrival, errand: Errand) -> None:
        try:
            threading.Thread(target=self._fetch, args=(arrival, errand), name="arrival", daemon=True).start()
        except RuntimeError as error:
            # No thread is to be had: nor would anybody ever end what is under way.
            del self._arrivals[errand.file.digest]
            del self._library.watchers[errand.file.digest]
            raise HubUnavailable("this mirror is too busy to fetch one more file", wait_s=5.0) from error

    def _fetch(self, arrival: Arrival, errand: Errand) -> None:
        file = errand.file
        written, ended = threading.Event(), threading.Event()
        error: PreheatError | None = PreheatError(f"{file.path}: this mirror has a fault")
        try:
            self._library.prepare(file.size - self._library.partial_size(file))
            beside = (arrival, errand, written, ended)
            threading.Thread(target=self._write, args=beside, name="errand", daemon=True).start()
            policy = replace(self._policy, connections=self._share(file), lines=Lines())
            fetch([file], errand.way, self._library, policy, lambda event: self._note(event, arrival), errand.helpers)
            written.wait()
            self._library.settle()
            error = None
        except PreheatError as trouble:
            error = trouble.again()
            self._on_event(Noted(f"{errand.snapshot.ref} {file.path}", f"not fetched: {error.message}"))
        finally:
            if arrival.spoilt or isinstance(error, IntegrityError):
                self._spoilt.note(file.digest)
            with self._turn:
                self._judge(file, wrong=isinstance(error, IntegrityError))
                del self._arrivals[file.digest]
                self._library.watchers.pop(file.digest, None)
            self._count(fetched=error is None, failed=error is not None)
            arrival.end(error)
            ended.set()
        if file.size > SMALL or error is not None:
            # A fetch and the errors that it met hold each other, and with them files that are open.
            gc.collect()

    def _judge(self, file: File, *, wrong: bool) -> None:
        times, _ = self._wrong.pop(file.digest, (0, 0.0))
        if wrong:
            while len(self._wrong) >= _MOST_WRONG:
                del self._wrong[next(iter(self._wrong))]
            self._wrong[file.digest] = times + 1, time.monotonic()

    def _write(self, arrival: Arrival, errand: Errand, written: threading.Event, ended: threading.Event) -> None:
        """Write down what an errand is for, and claim the blob until it is here.

        That waits for the disk, and clients wait for their first byte: so it is done beside, and after that.
        """
        arrival.await_some(_SOON_S)
        try:
            with self._library.wanted(replace(errand.snapshot, files=(errand.file,))):
                errand.keep()
                written.set()
                ended.wait()
        except PreheatError as error:
            self._on_event(Noted(str(errand.snapshot.ref), f"not written down: {error.message}"))
        finally:
            written.set()

    def _share(self, file: File) -> int:
        """Say how many connections a fetch may have, of those that all may."""
        with self._turn:
            others = len(self._arrivals)
        worth = 1 + (file.size >> 19)  # half a mebibyte each, which is what a connection is asked for at least
        return max(1, min(self._policy.connections, _CONNECTIONS // max(others, 1), worth))

    def _note(self, event: Event, arrival: Arrival) -> None:
        if arrival.stopped:
            raise HubUnavailable("no client waits for it, and another file was asked for", wait_s=1.0)
        if isinstance(event, Received):
            self._count(received=event.size)
        if not isinstance(event, Away):  # once a second for each fetch is too much
            self._on_event(event)

    def _count(self, **more: int) -> None:
        with self._turn:
            now = self._counts
            self._counts = replace(now, **{name: getattr(now, name) + count for name, count in more.items()})
