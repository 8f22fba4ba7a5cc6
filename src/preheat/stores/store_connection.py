"""Store connection: obstore's clients for one address: for reading, with or without a login, and for writing."""

import functools
from dataclasses import dataclass, field
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING, Any

from preheat import __version__
from preheat.core.errors import UsageError
from preheat.core.secret_text import one_line
from preheat.stores.store_address import StoreAddress

if TYPE_CHECKING:
    from obstore.store import AzureStore, GCSStore, S3Store

    AnyStore = AzureStore | GCSStore | S3Store

_WHOLE = "10m"  # for a part of an upload over a slow line, or a whole file of a server without range requests
_RETRIES, _RETRYING_S = 3, 30


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """How to reach a store: obstore's settings of the `service`, timeouts in seconds, and a CA file's content.

    `logged_in`: credentials were found; without them, readers send requests without a signature first.
    """

    service: dict[str, str] = field(default_factory=dict, repr=False)
    logged_in: bool = True
    plain_http: bool = False
    authorities: bytes | None = None
    connect_s: float = 10.0
    read_s: float = 45.0


class StoreClients:
    """obstore's clients, made when first used. Raises UsageError without obstore, and for invalid settings."""

    def __init__(self, address: StoreAddress, options: StoreOptions) -> None:
        self._address = address
        self._options = options
        self.obstore = _imported(address)

    def reading(self, *, anonymous: bool) -> "AnyStore":
        """Return the client for reads."""
        return self._without_login if anonymous else self._with_login

    @functools.cached_property
    def _with_login(self) -> "AnyStore":
        return self._connect({}, self._options.read_s)

    @functools.cached_property
    def _without_login(self) -> "AnyStore":
        return self._connect({"skip_signature": "true"}, self._options.read_s)

    @functools.cached_property
    def writing(self) -> "AnyStore":
        """Return the client for writes, without a read timeout: the response comes only after all bytes were sent."""
        return self._connect({}, None)

    def _connect(self, also: dict[str, str], read_s: float | None) -> "AnyStore":
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, GCSStore, S3Store

        options, address = self._options, self._address
        client: dict[str, Any] = {
            "timeout": _WHOLE,
            "connect_timeout": _milliseconds(options.connect_s),
            "user_agent": f"preheat/{__version__}",
            "allow_http": options.plain_http,
        }
        if read_s is not None:
            client["read_timeout"] = _milliseconds(read_s)
        if options.authorities is not None:
            client["root_certificate"] = options.authorities
        retry: Any = {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=_RETRYING_S)}
        settings: dict[str, Any] = {"client_options": client, "retry_config": retry, **options.service, **also}
        prefix = address.prefix or None
        try:
            match address.scheme:
                case "s3":
                    return S3Store(address.bucket, prefix=prefix, **settings)
                case "gs":
                    return GCSStore(address.bucket, prefix=prefix, **settings)
                case _:
                    return AzureStore(address.bucket, prefix=prefix, **settings)
        except (BaseError, ValueError) as error:
            said = one_line(str(error).partition("\n")[0])
            raise UsageError(f"{address} cannot be used: {said}", hint="check the variables of its service") from error


def _imported(address: StoreAddress) -> ModuleType:
    try:
        import obstore
    except ImportError as error:
        raise UsageError(
            f"{address} needs obstore, which is not installed", hint="pip install 'preheat[stores]'"
        ) from error
    return obstore


def _milliseconds(seconds: float) -> str:
    return f"{max(int(seconds * 1000), 1)}ms"
