"""Observation: the record of one start of an app."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from preheat.core.digest import Digest
from preheat.core.ref import Ref
from preheat.core.snapshot import File


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file that the app downloaded from a hub; `ref` has the revision that the app requested."""

    ref: Ref
    commit: str
    file: File


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that the app downloaded from a URL that is no hub's, and its path; `size` in bytes."""

    url: str
    path: str
    size: int
    digest: Digest
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that was opened for reading, `at` seconds after the start; `digests` are those that were computed.

    `read` is how many of its `size` bytes were read or mapped; None if unknown.
    """

    path: str
    at: float
    size: int
    digests: frozenset[Digest] = frozenset()
    read: int | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """A host that the app tried to reach, how often, and the packages in the call stack, innermost first."""

    host: str
    port: int
    modules: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Made:
    """A file that the start created; `size` in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Observation:
    """The record of one start.

    `folder` is where the app was started. `caches` maps the variables that were set to new folders to these folders.
    `copied` are copies (source, target), `local_dirs` the `local_dir` folders of hub clients. `sees_native`: opens by
    native code were observed completely, so a file without an open was not opened.
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
