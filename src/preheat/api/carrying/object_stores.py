"""Object stores: open buckets, and public addresses of them, by the words of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from preheat.api.addresses.ca_file import read_ca_file
from preheat.core.errors import UsageError
from preheat.core.ref import STORES, is_near
from preheat.stores.object_store import ObjectStore
from preheat.stores.store_address import HINT, StoreAddress
from preheat.stores.store_connection import StoreOptions
from preheat.stores.store_login import find_login
from preheat.verbs.stores.store_reads import BucketReads, PublicReads, StoreReads

if TYPE_CHECKING:
    from preheat.api.session import Session


class ObjectStores:
    """Opens object stores for a session; each of them once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._buckets: dict[str, ObjectStore] = {}
        self._reads: dict[str, StoreReads] = {}

    def bucket(self, words: str) -> ObjectStore:
        """Return a bucket, to be read and written. Raise UsageError, also if obstore is not installed."""
        address = StoreAddress.parse(words)
        name = str(address)
        if name not in self._buckets:
            self._buckets[name] = ObjectStore(address, self._options(address))
        return self._buckets[name]

    def reads(self, words: str) -> StoreReads:
        """Return a bucket or a public address as a source of files. Raise UsageError as `bucket`."""
        if words not in self._reads:
            transport = self._session.transport
            public = words.partition(":")[0] not in STORES
            self._reads[words] = (
                PublicReads(self._public(words), transport) if public else BucketReads(self.bucket(words), transport)
            )
        return self._reads[words]

    def _options(self, address: StoreAddress) -> StoreOptions:
        settings, config = self._session.settings, self._session.config
        login = find_login(address.scheme, config.environ, config.home)
        plain = login.endpoint.startswith("http://")
        if plain:
            self._require_plain(login.endpoint)
        return StoreOptions(
            login.service,
            login.found,
            plain,
            read_ca_file(config.ca_file),
            settings.connect_s,
            settings.read_s,
        )

    def _public(self, words: str) -> str:
        """Check a public address. Raise UsageError if it is not encrypted, or has a password or a query."""
        try:
            parts = urlsplit(words)
            host = parts.hostname or ""
        except ValueError:
            host = ""
        if not host or parts.username is not None or parts.fragment:
            raise UsageError("the address of --from is not a public one", hint=f"https://HOST/PREFIX, or {HINT}")
        if parts.query:
            raise UsageError(
                f"the address at {host} has a query, which cannot be signed for all keys",
                hint=f"the public address of a prefix, or {HINT} with a login of your own",
            )
        if parts.scheme == "http":
            self._require_plain(words)
        return words.rstrip("/")

    def _require_plain(self, url: str) -> None:
        """Raise UsageError for a host that is not near, and that the user has not allowed to be reached without TLS."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if not is_near(host) and not {host, parts.netloc} & set(self._session.settings.plain_http):
            raise UsageError(
                f"{parts.scheme}://{parts.netloc} is not encrypted, and not in the local network",
                hint=f"https://{parts.netloc}, or allow it: --plain-http {parts.netloc}",
            )
