"""Symptoms: facts about an app's environment that may slow its start, without judgement."""

from dataclasses import dataclass

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line
from preheat.proof.start.start_notes import StartParts


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a hub. `line` is the measured connection to it, or `error` is the reason why there is none.

    `denied` is set if a token could help.
    """

    hub: str
    url: str
    line: Line | None = None
    error: str = ""
    denied: bool = False


@dataclass(frozen=True, slots=True)
class StorageFolder:
    """A folder that matters for the start. `survives` is False if its files are lost with the container."""

    path: str
    filesystem: str
    survives: bool = True


@dataclass(frozen=True, slots=True)
class Symptoms:
    """Facts about an app named `app`, and its environment.

    The app needs `size` bytes in `files` files. Of these bytes, `missing` are not in the library, and `resident` are in
    the page cache. `copied` are folders where views would need copies, since files there cannot be links to the
    library. `offline` is set if the environment disables the hub. `proxied` is set if a proxy intercepts the app's
    requests to its own page. `no_ca` is the path of a certificate file that is configured, but missing. `no_memory` is
    why no memory snapshots can be made here, empty if they can. `starts` are its measured starts, as far as noted.
    `listed` are the bytes of its environment that its start list names, `away` those of them that are not in the page
    cache; None without a list. `command`: the app's own, empty if its recipe has none.
    """

    app: str
    size: int
    files: int
    missing: int
    library: StorageFolder
    cache: StorageFolder
    free_disk: int
    free_memory: int
    endpoints: tuple[Endpoint, ...] = ()
    speed: Speed | None = None
    resident: int = 0
    copied: tuple[str, ...] = ()
    offline: bool = False
    proxied: bool = False
    no_ca: str = ""
    no_memory: str = ""
    starts: tuple[StartParts, ...] = ()
    listed: int | None = None
    away: int = 0
    command: tuple[str, ...] = ()
