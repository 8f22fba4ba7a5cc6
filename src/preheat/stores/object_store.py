"""Object store: read and write the keys below one prefix of a bucket, through obstore.

ADR 27 says why obstore. It finds the credentials, signs the requests, and repeats those that failed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from preheat.core.errors import AccessDenied, HubError, HubUnavailable, IntegrityError, NoRanges, NotFound
from preheat.stores.native_call import interruptible
from preheat.stores.object_reader import ObjectReader
from preheat.stores.store_address import StoreAddress
from preheat.stores.store_connection import StoreClients, StoreOptions
from preheat.stores.store_errors import ignores_ranges, lacks_conditions, store_error

_CHUNK = 256 << 10
SMALL = 8 << 20  # bytes; larger objects are uploaded in parts of this size
_MOST_PARTS = 10_000  # of S3
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a small object, and its ETag as the store names it."""

    body: bytes
    e_tag: str | None


class ObjectStore:
    """The keys below a prefix. Thread-safe. Methods raise HubError; an object appears whole or not at all."""

    def __init__(self, address: StoreAddress, options: StoreOptions) -> None:
        self.address = address
        self._connection = StoreClients(address, options)
        self._anonymous = not options.logged_in
        self._whole_only: set[str] = set()
        self._answered = False

    @property
    def name(self) -> str:
        """Return the address, for messages."""
        return str(self.address)

    def read(self, key: str, most: int) -> Document | None:
        """Return a small object; None if there is none. Raise HubError for one of more than `most` bytes."""

        def get() -> Document:
            found = self._obstore.get(self._store, key)
            if found.meta["size"] > most:
                raise HubError(f"{self.name}/{key} has {found.meta['size']} bytes, which cannot be its content")
            return Document(bytes(found.bytes()), found.meta["e_tag"])

        try:
            return self._ask(get)
        except NotFound as error:
            if "bucket" in error.message:
                raise
            return None

    def size(self, key: str) -> int | None:
        """Return the size of an object in bytes; None if there is none."""
        try:
            return self._ask(lambda: int(self._obstore.head(self._store, key)["size"]))
        except NotFound:
            return None

    def names(self, folder: str) -> list[str]:
        """Return the names of the keys directly below `folder`, sorted."""

        def listed() -> list[str]:
            found = self._obstore.list_with_delimiter(self._store, f"{folder}/")
            return sorted(str(one["path"]).rpartition("/")[2] for one in found["objects"])

        return self._ask(listed)

    def create(self, key: str, body: bytes) -> bool:
        """Write a small object if there is none; return False if there is one.

        A store without conditional writes replaces it.
        """
        return self._put(key, body, "create")

    def replace(self, key: str, body: bytes, known: Document | None = None) -> bool:
        """Write a small object over `known`, or over anything; return False if another client has changed it.

        A store without conditional writes replaces it.
        """
        return self._put(key, body, {"e_tag": known.e_tag} if known is not None and known.e_tag else "overwrite")

    def _put(self, key: str, body: bytes, mode: Any) -> bool:
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        def put() -> bool | None:
            try:
                self._obstore.put(self._connection.writing, key, body, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            except (NotSupportedError, NotImplementedError):
                return None
            return True

        try:
            written = self._translated(put)
        except HubError as error:
            if mode == "overwrite" or not lacks_conditions(error):
                raise
            written = None
        return self._put(key, body, "overwrite") if written is None else written

    def upload(self, key: str, chunks: Iterable[bytes], size: int, concurrency: int) -> None:
        """Write an object of any size in parts. An exception of `chunks` is raised, and then nothing is written."""
        if size <= SMALL:
            self.create(key, b"".join(chunks))
            return
        part = max(SMALL, -(-size // (_MOST_PARTS - 1)))
        failed: list[BaseException] = []

        def guarded() -> Iterator[bytes]:
            try:
                yield from chunks
            except GeneratorExit:  # the store has failed, and wants no more
                raise
            except BaseException as error:
                failed.append(error)
                raise

        def put() -> None:
            store = self._connection.writing
            words = {"use_multipart": True, "chunk_size": part, "max_concurrency": concurrency}
            self._obstore.put(store, key, guarded(), **words)

        try:
            self._translated(put)
        except BaseException:
            if failed:
                raise failed[0] from None  # obstore may have wrapped it
            raise

    def signed(self, key: str, lasting_s: float) -> str | None:
        """Return an address at which anyone can read an object for a time; None if the login cannot make one."""
        if self._anonymous:
            return None
        from obstore.exceptions import BaseError

        try:
            return str(self._obstore.sign(self._store, "GET", key, timedelta(seconds=lasting_s)))
        except (BaseError, ValueError, NotImplementedError):
            return None

    def open(self, key: str, size: int, start: int, stop: int) -> ObjectReader:
        """Return a reader of the bytes `start` to `stop` (exclusive) of an object of `size` bytes.

        Raise NoRanges, once for each object, if the store ignores ranges: then the bytes before are read too. Raise
        NotFound, or IntegrityError for an object of another size.
        """
        if start >= stop:
            return ObjectReader(iter(()), self._error, 0)
        whole = key in self._whole_only or (start == 0 and stop == size)
        try:
            options = {} if whole else {"range": (start, stop)}
            found = self._ask(lambda: self._obstore.get(self._store, key, options=options))
        except HubError as error:
            if whole or not ignores_ranges(error):
                raise
            self._whole_only.add(key)
            raise NoRanges(
                f"{self.name} serves {key} only as a whole", hint="nothing to do: it only takes longer"
            ) from None
        if found.meta["size"] != size:
            raise IntegrityError(
                f"{self.name}/{key} should have {size} bytes, but has {found.meta['size']}",
                hint="remove that key, and push the model again",
            )
        reader = ObjectReader(iter(found.stream(min_chunk_size=_CHUNK)), self._error, stop - start)
        if whole and start:
            reader.skip(start)
        return reader

    def _ask(self, ask: Callable[[], _Answer]) -> _Answer:
        """Return the answer to a read. Without credentials of the user, a refused one is sent with the machine's."""
        try:
            return self._translated(ask)
        except AccessDenied as denied:
            if not self._anonymous:
                raise
            try:
                self._anonymous = False
                return self._translated(ask)
            except HubError:
                self._anonymous = True
                raise denied from denied.__cause__

    def _translated(self, ask: Callable[[], _Answer]) -> _Answer:
        from obstore.exceptions import BaseError

        try:
            answer = interruptible(ask)
        except (BaseError, FileNotFoundError) as error:
            raise self._error(error) from error
        self._answered = True
        return answer

    def _error(self, error: Exception) -> HubError:
        found = store_error(error, self.address, anonymous=self._anonymous)
        if isinstance(found, HubUnavailable):
            found.seen = self._answered
        return found

    @property
    def _obstore(self) -> Any:
        return self._connection.obstore

    @property
    def _store(self) -> Any:
        return self._connection.reading(anonymous=self._anonymous)
