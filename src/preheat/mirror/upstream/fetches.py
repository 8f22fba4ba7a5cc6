"""Fetches: one download for each digest, shared by any number of clients."""

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from preheat.core.digest import Digest
from preheat.core.errors import Busy, HubUnavailable, IntegrityError, MirrorBusy, PreheatError
from preheat.core.events import Away, Event, Listener, Noted, Received, Stored, Waiting
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.core.values.replace import replace
from preheat.library.blobs.blobs import SMALL
from preheat.library.library import Library
from preheat.mirror.upstream.arriving_blob import Arrival, dispensable
from preheat.mirror.upstream.direct_download import DirectDownloads
from preheat.mirror.upstream.spoiled_files import Spoilt, WrongDownloads
from preheat.mirror.upstream.upstream import Errand, OtherProcess, Unwanted, download
from preheat.transfer.fetch import Policy
from preheat.transfer.route import MeasuredSpeeds

# Maximum concurrent downloads of large files, and separately of small ones. To start one more, a download that has had
# no reader for `LONELY_S` is stopped, else one of the client that has most; without one, the response is 503.
MOST_FETCHES = 32
# A download that has had no reader for this long stops in any case: a client could make a mirror download all that its
# upstream has. The client that left because it restarts is back sooner, and later requests resume the partial file.
ABANDONED_S = 300.0
_SOON_S = 0.25
_ROOM_WITHIN_S = 3.0
_CONNECTIONS = 48  # for the first download, fewer for further ones; each has a buffer of up to 1 MiB


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A download: its file, the bytes `done` of `size`, and the number of clients that read it now."""

    ref: Ref
    path: str
    done: int
    size: int
    clients: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Responses with a cached file (`hits`) and without (`misses`); downloads; bytes `received` from upstream."""

    hits: int = 0
    misses: int = 0
    fetched: int = 0
    failed: int = 0
    received: int = 0


class Fetches:
    """Run the downloads. One ends only when its file is in the library, or has failed.

    A client's response is aborted when no bytes have arrived for `silence_s` seconds. `check` is called with each
    complete file and its client before its last bytes are sent, which an exception prevents. Thread-safe.
    """

    def __init__(
        self,
        library: Library,
        policy: Policy,
        on_event: Listener,
        silence_s: float = 75.0,
        check: Callable[[File, str], None] = lambda _file, _client: None,
    ) -> None:
        self._library = library
        self._check = check
        self._policy = policy
        self._silence_s = silence_s
        self._on_event = on_event
        self._spoilt = Spoilt(library.root)
        self._direct = DirectDownloads(library, on_event)
        self._wrong = WrongDownloads()
        self._turn = threading.Lock()  # guards the three below
        self._small_ended = threading.Condition(self._turn)
        self._arrivals: dict[Digest, Arrival] = {}
        self._counts = Counts()

    def under_way(self) -> list[UnderWay]:
        """Return the running downloads, oldest first."""
        with self._turn:
            arrivals = list(self._arrivals.values())
        return [UnderWay(one.ref, one.file.path, one.done, one.file.size, one.clients) for one in arrivals]

    @property
    def counts(self) -> Counts:
        """Counts since the start."""
        with self._turn:
            return self._counts

    def hit(self) -> None:
        """Count a response with a cached file."""
        self._count(hits=1)

    def continues(self, file: File) -> bool:
        """Return whether a client may resume a partial file: none of its bytes have turned out to be wrong."""
        with self._turn:
            arrival = self._arrivals.get(file.digest)
        return not (arrival is not None and arrival.spoilt) and not self._spoilt.has(file.digest)

    def join(self, errand: Errand) -> Arrival:
        """Return a file's download, started if none is running; that of a small file may have ended.

        Raise MirrorBusy if too many are running, IntegrityError if upstream has repeatedly sent wrong bytes or two
        listings disagree on the size.
        """
        file = errand.file
        with self._turn:
            arrival = self._arrivals.get(file.digest)
            if arrival is None:
                self._wrong.refuse(file)
                self._await_room(file, errand.client)
                arrival = self._arrivals.get(file.digest)  # begun by another request, while this one waited
                if arrival is not None:
                    self._small_ended.notify()
            new = arrival is None
            if arrival is None:
                kept = self._library.path(file.digest)
                arrival = Arrival(errand.snapshot.ref, file, kept, self._silence_s, errand.client)
                self._arrivals[file.digest] = arrival
                self._library.watchers[file.digest] = arrival
            elif arrival.file.size != file.size:
                # Only the digest will show which of the two sizes is right.
                raise IntegrityError(
                    f"{file.path}: it is being downloaded, and is listed with {arrival.file.size} bytes elsewhere"
                )
        if new and not self._bring(arrival, errand):
            self._begin(arrival, errand)
        self._count(misses=1)
        return arrival

    def _await_room(self, file: File, client: str) -> None:
        """Make room for a file; a small one waits for a slot, which is soon free. Raise MirrorBusy."""
        until = time.monotonic() + (_ROOM_WITHIN_S if file.size <= SMALL else 0.0)
        while True:
            try:
                return self._make_room(file, client)
            except MirrorBusy:
                if not self._small_ended.wait(max(until - time.monotonic(), 0.0)):
                    raise

    def _make_room(self, file: File, client: str) -> None:
        """Stop a download if all slots are taken; raise MirrorBusy if there is none to stop."""
        alike = [one for one in self._arrivals.values() if (one.file.size > SMALL) == (file.size > SMALL)]
        going = sum(one.stopped for one in alike)
        if len(alike) - going < MOST_FETCHES:
            return
        least = dispensable([one for one in alike if not one.stopped], client)
        if least is None or going >= MOST_FETCHES:
            raise MirrorBusy(f"this mirror is already downloading {MOST_FETCHES} files", wait_s=5.0)
        least.stop()

    def _bring(self, arrival: Arrival, errand: Errand) -> bool:
        """Download a small file with one request; return whether that ended its download."""
        file = errand.file
        error: PreheatError | None = PreheatError(f"{file.path}: internal error of this mirror")
        goes_on = False
        try:
            # A record protects its blobs from prune; until there is one, a claim does, which takes a thread.
            goes_on = bool(errand.helpers) or not self._direct.suits(file, errand.way) or not errand.is_recorded()
            if not goes_on:
                self._library.prepare(file.size)
                with arrival.reading():
                    self._direct.bring(file, errand.way, lambda: arrival.stopped)
                self._note(arrival, OtherProcess(), Received(file, file.size))
                self._on_event(Stored(file))
                self._check(file, errand.client)
                error = None
        except (HubUnavailable, IntegrityError, Busy):
            goes_on = True
        except PreheatError as trouble:
            error = trouble.again()
        finally:
            if not goes_on:
                self._end(arrival, errand, error)
        return not goes_on

    def _begin(self, arrival: Arrival, errand: Errand) -> None:
        try:
            threading.Thread(target=self._fetch, args=(arrival, errand), name="arrival", daemon=True).start()
        except RuntimeError as error:
            # The system cannot start another thread, so nothing else would ever end this download.
            busy = MirrorBusy("this mirror is too busy to download another file", wait_s=5.0)
            self._forget(errand.file)
            arrival.end(busy)
            raise busy from error

    def _forget(self, file: File) -> None:
        with self._turn:
            del self._arrivals[file.digest]
            self._library.watchers.pop(file.digest, None)
            if file.size <= SMALL:
                self._small_ended.notify()

    def _fetch(self, arrival: Arrival, errand: Errand) -> None:
        file = errand.file
        written, ended = threading.Event(), threading.Event()
        error: PreheatError | None = PreheatError(f"{file.path}: internal error of this mirror")
        try:
            self._library.prepare(file.size - self._library.partial_size(file))
            beside = (arrival, errand, written, ended)
            threading.Thread(target=self._write, args=beside, name="errand", daemon=True).start()
            policy = replace(self._policy, connections=self._share(file), lines=MeasuredSpeeds())
            download(errand, self._library, policy, partial(self._note, arrival, OtherProcess()), self._on_event)
            written.wait()
            self._library.settle()
            self._check(file, errand.client)
            error = None
        except PreheatError as trouble:
            error = trouble.again()
        finally:
            self._end(arrival, errand, error)
            ended.set()
        if file.size > SMALL or error is not None:
            # A download and its errors reference each other, and keep files open until they are collected.
            gc.collect()

    def _end(self, arrival: Arrival, errand: Errand, error: PreheatError | None) -> None:
        file = errand.file
        if error is not None:
            self._on_event(Noted(f"{errand.snapshot.ref} {file.path}", f"not downloaded: {error.message}"))
        if arrival.spoilt or isinstance(error, IntegrityError):
            self._spoilt.note(file.digest)
        self._wrong.judge(file, wrong=isinstance(error, IntegrityError))
        self._forget(file)
        self._count(fetched=error is None, failed=error is not None)
        arrival.end(error)

    def _write(self, arrival: Arrival, errand: Errand, written: threading.Event, ended: threading.Event) -> None:
        """Record the snapshot, and claim the blob until the download ends.

        Runs in its own thread, after the first bytes have arrived: it waits for the disk, and must not delay clients.
        """
        arrival.await_some(_SOON_S)
        try:
            with self._library.wanted(replace(errand.snapshot, files=(errand.file,))):
                errand.keep()
                written.set()
                ended.wait()
        except PreheatError as error:
            self._on_event(Noted(str(errand.snapshot.ref), f"not recorded: {error.message}"))
        finally:
            written.set()

    def _share(self, file: File) -> int:
        """Return how many connections a download may use."""
        with self._turn:
            others = len(self._arrivals)
        worth = 1 + (file.size >> 19)  # at least 512 KiB for each connection
        return max(1, min(self._policy.connections, _CONNECTIONS // max(others, 1), worth))

    def _note(self, arrival: Arrival, other: OtherProcess, event: Event) -> None:
        if arrival.lonely_s >= ABANDONED_S:
            raise Unwanted(f"stopped, as no client has read it for {ABANDONED_S / 60:.0f} minutes", wait_s=1.0)
        if arrival.stopped:
            raise Unwanted("stopped to make room for another file, as no client was reading it", wait_s=1.0)
        if isinstance(event, Received):
            self._count(received=event.size)
        if isinstance(event, Waiting):
            other.watch(event, time.monotonic())
        if not isinstance(event, Away):  # one a second for each download is too many
            self._on_event(event)

    def _count(self, **more: int) -> None:
        with self._turn:
            now = self._counts
            self._counts = replace(now, **{name: getattr(now, name) + count for name, count in more.items()})
