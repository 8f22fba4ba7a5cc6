"""Symptoms: facts about an app's environment that may slow its start, without judgement."""

from dataclasses import dataclass

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a hub: its line, or what it said instead; `denied` when a token could help."""

    hub: str
    url: str
    line: Line | None = None
    error: str = ""
    denied: bool = False


@dataclass(frozen=True, slots=True)
class StorageFolder:
    """A folder that matters: its filesystem, and whether what lies there outlives a container that this is."""

    path: str
    filesystem: str
    survives: bool = True


@dataclass(frozen=True, slots=True)
class Symptoms:
    """An app named `app`, that needs `size` bytes in `files` files, of which `missing` are not in the library.

    `resident` are the bytes of them in the page cache. `copied` are places where views would be a second copy, since
    no link reaches them. `offline` and `proxied` are what the environment says: the hub switched off; a proxy in the
    way to the app's own page. `no_ca` is a file of certificates that is named and not there.
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
