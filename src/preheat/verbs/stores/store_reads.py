"""Store reads: documents and blobs of an object store, from any byte on.

Blobs are read over preheat's own connections, at addresses that obstore signs, so that they have the proxies, timeouts
and interrupts of every download. A store that does not accept such addresses is read by obstore itself.
"""

import threading
import time
from typing import Protocol

from preheat.core.errors import AccessDenied, HubError, NoRanges, NotFound, PreheatError
from preheat.core.snapshot import File
from preheat.hubs.file_range import FileLocation, Ranges
from preheat.hubs.http_errors import read_temporary
from preheat.hubs.hub import Reader
from preheat.net.http import Transport
from preheat.net.response import Stream
from preheat.stores.object_store import ObjectStore
from preheat.stores.store_keys import blob_key

_SIGNED_S = 3600.0
_LOST = "push the model again, or pull without --from"


class StoreReads(Protocol):
    """The documents and blobs of an object store, for readers. Thread-safe. Methods raise HubError."""

    @property
    def name(self) -> str:
        """Return the store's address, for messages."""

    def document(self, key: str, most: int) -> bytes | None:
        """Return a small object; None if there is none."""

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if there is none."""

    def open(self, file: File, start: int, stop: int) -> Reader:
        """Return a reader of the bytes `start` to `stop` (exclusive) of a file's blob; see Hub."""


class BucketReads:
    """See StoreReads. A bucket, with or without a login."""

    def __init__(self, store: ObjectStore, transport: Transport) -> None:
        self.name = store.name
        self._store = store
        self._ranges = Ranges(transport, _read_error)
        self._turn = threading.Lock()
        self._addresses: dict[str, tuple[str, float]] = {}  # guarded by `_turn`
        self._direct = False

    def document(self, key: str, most: int) -> bytes | None:
        """See StoreReads."""
        found = self._store.read(key, most)
        return None if found is None else found.body

    def size(self, key: str) -> int | None:
        """See StoreReads."""
        return self._store.size(key)

    def open(self, file: File, start: int, stop: int) -> Reader:
        """See StoreReads."""
        key = blob_key(file.digest)
        address = None if self._direct else self._signed(key)
        if address is not None:
            try:
                return self._ranges.open(FileLocation(address, f"{self.name}/{key}"), file, start, stop)
            except _Refused:
                pass  # obstore's answer tells why; and some stores only refuse addresses that are signed
        try:
            reader = self._store.open(key, file.size, start, stop)
        except NoRanges:
            self._direct = True
            raise
        self._direct = True
        return reader

    def _signed(self, key: str) -> str | None:
        """Return a signed address of a key, which is used for half of its time; None if none can be made."""
        now = time.monotonic()
        with self._turn:
            address, until = self._addresses.get(key, ("", 0.0))
        if now < until:
            return address
        made = self._store.signed(key, _SIGNED_S)
        if made is not None:
            with self._turn:
                self._addresses[key] = made, now + _SIGNED_S / 2
        return made


class PublicReads:
    """See StoreReads. The same keys below an address that anyone can read, such as a public bucket or a CDN."""

    def __init__(self, url: str, transport: Transport) -> None:
        self.name = url.rstrip("/")
        self._transport = transport
        self._ranges = Ranges(transport, _public_error)

    def document(self, key: str, most: int) -> bytes | None:
        """See StoreReads."""
        answer = self._transport.get(f"{self.name}/{key}", {})
        if answer.status == 200 and len(answer.body) <= most:
            return answer.body
        self._require_missing(answer.status, key)
        return None

    def size(self, key: str) -> int | None:
        """See StoreReads."""
        answer = self._transport.send("HEAD", f"{self.name}/{key}", {})
        length = answer.headers.get("Content-Length", "")
        if answer.status == 200 and length.isdecimal():
            return int(length)
        self._require_missing(answer.status, key)
        return None

    def open(self, file: File, start: int, stop: int) -> Reader:
        """See StoreReads."""
        key = blob_key(file.digest)
        return self._ranges.open(FileLocation(f"{self.name}/{key}", f"{self.name}/{key}"), file, start, stop)

    def _require_missing(self, status: int, key: str) -> None:
        """Raise HubError for a status that does not mean that there is no such key.

        A bucket whose keys cannot be listed answers 403 for a key that it does not have.
        """
        if status not in (403, 404, 410):
            what = f"{self.name}/{key}"
            temporary = read_temporary(status, {}, what, "a login")
            raise temporary or HubError(f"{what}: the server answered {status}", hint="check the address")


class _Refused(HubError):
    """The store does not accept the signed address."""


def _read_error(stream: Stream, what: str) -> PreheatError:
    if stream.status in (404, 410):
        return NotFound(f"{what} is not in the store any more", hint=_LOST)
    temporary = read_temporary(stream.status, stream.headers, what, "a login")
    return temporary or _Refused(f"{what}: the store answered {stream.status}")


def _public_error(stream: Stream, what: str) -> PreheatError:
    if stream.status in (404, 410):
        return NotFound(f"{what} is not in the store", hint=_LOST)
    if stream.status in (401, 403):
        return AccessDenied(
            f"{what}: access is denied", hint="make the prefix public, or name it as s3://BUCKET/PREFIX"
        )
    temporary = read_temporary(stream.status, stream.headers, what, "a login")
    return temporary or HubError(f"{what}: the server answered {stream.status}", hint="check the address")
