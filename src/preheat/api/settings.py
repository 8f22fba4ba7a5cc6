"""Settings: the options that all verbs share: the library, the hubs, connections and timeouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from preheat.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

MOST_CONNECTIONS = 1024
Unsafe = Literal["refuse", "warn", "allow"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Options of all verbs; the defaults are those of the command.

    `library`: the folder of the library; None for the user's default.
    `endpoints`: `HUB=URL`, in order of preference.
    `tokens_for`: `URL=env:VARIABLE` or `URL=file:PATH`, tokens that are sent to this endpoint only.
    `connections`: maximum connections to each endpoint. `limit_rate`: bytes per second in total, 0 for no limit.
    `connect_s`, `read_s`: timeouts in seconds for connecting, and for the next byte of a response.
    `patience_s`: how many seconds to retry a server that has responded before; None: 300, but 60 for a mirror.
    `unsafe_files`: how to treat checkpoints that can run untrusted code when they are loaded.
    `link`: how files in views are linked to the library.
    `model_kind`: in views of apps, the kind of all files, instead of the kind that is read from each file.
    `locked`: fail if the lock of an app is missing or stale.
    `folder`: the app's folder, for built-in recipes.
    `optional`: also pull the needs that an app can start without.
    `replace`: move conflicting files in a view's folder aside. `keep`: leave them, and place the rest. Without either,
    conflicting files are an error.
    `allowed_places`: folders outside the app's folder where views may be placed.
    `images`: object stores (`s3://BUCKET/PREFIX`) and images (`docker://REGISTRY/REPOSITORY@sha256:HEX`) that are asked
    for files before the hubs. `plain_http`: registries and stores to connect to without TLS, as HOST or HOST:PORT.
    `adopt`: pulls take files from other programs' caches instead of downloading them.

    Raise UsageError for invalid values.
    """

    library: Path | None = None
    endpoints: tuple[str, ...] = ()
    tokens_for: tuple[str, ...] = ()
    connections: int = 256
    limit_rate: int = 0
    connect_s: float = 10.0
    read_s: float = 45.0
    patience_s: float | None = None
    unsafe_files: Unsafe = "warn"
    link: str = "auto"
    model_kind: str = ""
    locked: bool = False
    folder: Path | None = None
    optional: bool = True
    replace: bool = False
    keep: bool = False
    allowed_places: tuple[Path, ...] = ()
    adopt: bool = True
    images: tuple[str, ...] = ()
    plain_http: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= MOST_CONNECTIONS:
            hint = f"--connections 1 to {MOST_CONNECTIONS}"
            raise UsageError(f"connections must be between 1 and {MOST_CONNECTIONS}, not {self.connections}", hint=hint)
        if self.unsafe_files not in get_args(Unsafe):  # a misspelt "refuse" must not mean "warn"
            raise UsageError(
                f"unsafe_files must be one of {', '.join(get_args(Unsafe))}, not {self.unsafe_files!r}",
                hint='unsafe_files="refuse"',
            )
        for seconds in (self.connect_s, self.read_s):
            if seconds <= 0:
                raise UsageError(
                    f"a timeout must be greater than 0, not {seconds:g} s", hint="for example 500ms, 45s or 2m"
                )
