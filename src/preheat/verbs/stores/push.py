"""Push: send models and apps from the library to an object store: blobs, then manifests."""

import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from preheat.core.errors import HubError, HubUnavailable, IntegrityError
from preheat.core.events import Event, Listener, Read, Reading, Retrying
from preheat.core.snapshot import File
from preheat.core.threads.next_item import next_item
from preheat.library.blobs.disk_errors import disk
from preheat.library.library import Library
from preheat.net.retry import USUAL, RetryPolicy, persist
from preheat.stores.object_store import SMALL, ObjectStore
from preheat.stores.store_keys import blob_key
from preheat.transfer.planning.rate_limit import RateLimit
from preheat.verbs.stores.publish import publish_app, publish_model
from preheat.verbs.stores.push_plan import PushPlan

_PIECE = 1 << 20
_AT_ONCE = 4  # blobs
_ABORT_S = 5.0


@dataclass(frozen=True, slots=True)
class PushPolicy:
    """Limits of a push: `connections` at most, `rate` in bytes/s (0: unlimited), and how long to retry a store."""

    connections: int = 16
    rate: float = 0.0
    patience: RetryPolicy = USUAL


def push(plan: PushPlan, library: Library, store: ObjectStore, policy: PushPolicy, on_event: Listener) -> None:
    """Send what the plan lists. A model's manifest is written after all blobs, so that readers find it whole.

    Each blob is hashed while it is sent. Raise IntegrityError if one is corrupt, and nothing of it appears in the
    store; LibraryError if it cannot be read; HubError if the store refuses. The next push sends only missing blobs.
    """
    with library.wanted(*(model.wanted for model in plan.models)):
        for model in plan.models:
            library.require_files(model.wanted, hint=model.wanted.ref.how_to_get)
        if plan.blobs:
            on_event(Reading("upload", len(plan.blobs), plan.missing))
            _Uploads(plan, library, store, policy).run(on_event)
        for model in plan.models:
            persist(lambda one=model: publish_model(one, store), policy.patience, store.name, on_event)  # type: ignore[misc]
        for app in plan.apps:
            persist(lambda one=app: publish_app(one, store), policy.patience, store.name, on_event)  # type: ignore[misc]


class _PushEnded(Exception):
    """The push has failed, or was interrupted: uploads in progress end."""


class _Uploads:
    """The threads that send blobs. Events are emitted in the thread that runs them."""

    def __init__(self, plan: PushPlan, library: Library, store: ObjectStore, policy: PushPolicy) -> None:
        self._library = library
        self._store = store
        self._policy = policy
        self._waiting: queue.SimpleQueue[File] = queue.SimpleQueue()
        for file in plan.blobs:
            self._waiting.put(file)
        at_once = min(policy.connections, max(_AT_ONCE, 1), len(plan.blobs))
        if plan.blobs[0].size <= SMALL:
            at_once = min(policy.connections, len(plan.blobs))  # each needs one connection only
        self._parts = max(policy.connections // at_once, 1)
        self._limit = RateLimit(policy.rate)
        self._events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, name="push", daemon=True) for _ in range(at_once)]

    def run(self, on_event: Listener) -> None:
        """Send all blobs. Raise the first error."""
        for thread in self._threads:
            thread.start()
        working = len(self._threads)
        try:
            while working:
                came = next_item(self._events)
                if isinstance(came, BaseException):
                    raise came
                if came is None:
                    working -= 1
                else:
                    on_event(came)
        finally:
            self._stopped.set()
            deadline = time.monotonic() + _ABORT_S
            for thread in self._threads:
                thread.join(max(deadline - time.monotonic(), 0.0))  # it removes the parts of its upload

    def _work(self) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    file = self._waiting.get_nowait()
                except queue.Empty:
                    break
                self._send(file)
        except _PushEnded:
            pass
        except BaseException as error:  # noqa: BLE001 - raised in the thread that runs this
            self._events.put(error)
        finally:
            self._events.put(None)

    def _send(self, file: File) -> None:
        """Upload a blob, from its start after each temporary failure, and compare its size in the store."""
        key, failures, began, sent = blob_key(file.digest), 0, time.monotonic(), _Sent()
        while True:
            sent.size = 0
            try:
                self._store.upload(key, self._pieces(file, sent), file.size, self._parts)
                size = self._store.size(key)
                break
            except HubUnavailable as error:
                failures += 1
                left_s = began + self._policy.patience.lasting_s - time.monotonic()
                if left_s <= 0 or (failures >= self._policy.patience.attempts and not error.seen):
                    raise
                wait_s = min(self._policy.patience.wait_s(failures, error.wait_s, 0.5), left_s)
                self._events.put(Retrying(self._store.name, error.message, wait_s))
                if self._stopped.wait(wait_s):
                    raise _PushEnded from error
        if size != file.size:
            raise HubError(
                f"{self._store.name} has {size or 0} bytes of {file.path} after an upload of {file.size}",
                hint=f"remove {key}, and push again; if that does not help, the store loses data",
            )

    def _pieces(self, file: File, sent: "_Sent") -> Iterator[bytes]:
        """Yield the bytes of a blob. Raise IntegrityError at its end if they do not match its digest."""
        path, hashing = self._library.held_location(file.digest), file.digest.hasher(file.size)
        with disk(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while True:
                if self._stopped.is_set():
                    raise _PushEnded
                with disk(path):
                    piece = os.read(descriptor, _PIECE)
                if not piece:
                    break
                hashing.update(piece)
                sent.size += len(piece)
                if sent.size == file.size:
                    # Before the last bytes are given away: a store that gets fewer does not finish the object.
                    self._require(file, hashing.hexdigest(), sent.size)
                yield piece
                self._limit.spend(len(piece))
                if sent.size > sent.told:
                    self._events.put(Read(sent.size - sent.told))
                    sent.told = sent.size
        finally:
            os.close(descriptor)
        self._require(file, hashing.hexdigest(), sent.size)

    def _require(self, file: File, found: str, size: int) -> None:
        if (found, size) != (file.digest.hex, file.size):
            raise IntegrityError(
                f"{file.path} is corrupt in the library: its bytes do not match {file.digest}",
                hint="to find the damaged blobs: preheat verify",
            )


@dataclass(slots=True)
class _Sent:
    """How many bytes of a blob were read in this attempt, and how many were reported in all of them."""

    size: int = 0
    told: int = 0
