"""Settings: options that every verb shares: the library, the hubs, connections and time-outs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from preheat.core.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

MOST_CONNECTIONS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How verbs work. What is left out is as in the command's options.

    `library`: the folder that models are kept in; None for the user's own.
    `endpoints`: `HUB=URL`, in the order in which they are asked.
    `tokens_for`: `URL=env:VARIABLE` or `URL=file:PATH`, tokens that are shown to one endpoint alone.
    `connections`: at most so many to each endpoint. `limit_rate`: bytes a second in all, 0 for no limit.
    `connect_s`, `read_s`: seconds that a connection, and the next byte, may take.
    `patience_s`: seconds that a server which has answered before may be away.
    `unsafe_files`: what becomes of checkpoints that would run a stranger's code when they are loaded.
    `link`: how a view's files are made of the library's.
    `locked`: an app whose lock is missing or stale is an error.
    `folder`: the app's folder, for recipes that come with preheat.
    `replace`: move files aside that lie in a view's place and are not preheat's. `keep`: leave them, and place the
    rest. Without either they are an error.
    `allowed_places`: where views may lie outside the app's folder.

    Raise UsageError for what is invalid.
    """

    library: Path | None = None
    endpoints: tuple[str, ...] = ()
    tokens_for: tuple[str, ...] = ()
    connections: int = 256
    limit_rate: int = 0
    connect_s: float = 10.0
    read_s: float = 45.0
    patience_s: float = 300.0
    unsafe_files: Literal["refuse", "warn", "allow"] = "warn"
    link: str = "auto"
    locked: bool = False
    folder: Path | None = None
    replace: bool = False
    keep: bool = False
    allowed_places: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= MOST_CONNECTIONS:
            hint = f"--connections 1 to {MOST_CONNECTIONS}"
            raise UsageError(f"{self.connections} connections cannot be had", hint=hint)
        for seconds in (self.connect_s, self.read_s):
            if seconds <= 0:
                raise UsageError(
                    f"a timeout of {seconds:g} s lets nothing happen", hint="a time above 0: 500ms, 45s, 2m"
                )
