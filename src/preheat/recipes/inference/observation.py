"""Observation: all that was recorded of one start of an app."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from preheat.core.digest import Digest
from preheat.core.ref import Ref
from preheat.core.snapshot import File


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file that the app had from a hub; `ref` as it asked for it, at whatever revision it named."""

    ref: Ref
    commit: str
    file: File


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that the app had from an address of no hub, and where it wrote it; `size` in bytes."""

    url: str
    path: str
    size: int
    digest: Digest
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was opened to be read, `at` seconds after the start; `digests` are those that were worth making.

    `read` is how many of its `size` bytes were read or mapped, where that was seen.
    """

    path: str
    at: float
    size: int
    digests: frozenset[Digest] = frozenset()
    read: int | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """A host that the app tried to reach: how often, and by which packages, the nearest first."""

    host: str
    port: int
    modules: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Made:
    """A file that the start made for itself; `size` in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Observation:
    """All of it.

    `folder` is where the app was started; `caches` are the variables that were led to new folders, and those.
    `copied` are copies from one path to another, `local_dirs` the folders that a hub's client keeps as its own.
    `sees_native` says whether opens by native code were seen for sure, so that not seen is not opened.
    """

    name: str
    folder: str
    command: tuple[str, ...]
    ready: str = ""
    caches: Mapping[str, str] = field(default_factory=dict)
    served: tuple[HubFile, ...] = ()
    loaded: tuple[Loaded, ...] = ()
    opened: tuple[Opened, ...] = ()
    reached: tuple[Reached, ...] = ()
    made: tuple[Made, ...] = ()
    copied: tuple[tuple[str, str], ...] = ()
    local_dirs: frozenset[str] = frozenset()
    sees_native: bool = True
