"""Symptoms: facts about an app's environment that may slow its start, without judgement."""

from dataclasses import dataclass

from preheat.proof.limits.disk_speed import Speed
from preheat.proof.limits.line_speed import Line


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a hub, with its measured line or an error. `denied` is set if a token could help."""

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
    """Facts about an app named `app`. It needs `size` bytes in `files` files; `missing` bytes are not in the library.

    `resident` is the number of their bytes in the page cache. `copied` are folders where views would need copies, since
    they cannot be linked to the library. `offline` is set if the environment disables the hub, `proxied` if a
    proxy intercepts the app's requests to its own page. `no_ca` is the path of a configured but missing
    certificate file.
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
