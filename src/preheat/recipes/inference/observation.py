"""Observation: the record of one start of an app."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.ref import Ref
from preheat.core.snapshot import File
from preheat.recipes.app_python import AppPython
from preheat.recipes.places import Places


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a hub's that the app downloaded, or had already; `ref` has the revision that the app requested."""

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
class UnpackedFile:
    """A file of an archive: its path there, and the `path` that it was unpacked to; `size` in bytes."""

    name: str
    path: str
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An archive that the app downloaded and unpacked. `archive.path` is empty if the app did not keep it.

    `kind` is `zip` or `tar`; `base` is the folder in which all members are, and `prefix` the folder of the archive
    that was stripped or renamed to it. `others` are the members that were not unpacked, or changed since.
    """

    archive: Loaded
    kind: str
    base: str
    prefix: str
    members: tuple[UnpackedFile, ...]
    others: tuple[str, ...] = ()


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
    """A file that the start created, first written `at` seconds after the start; `size` in bytes.

    `modules` are the packages that wrote it, innermost first; empty for native programs. `digest` is None for a file
    that no recipe can have, such as one over the size limit that was never opened.
    """

    path: str
    size: int
    digest: Digest | None = None
    modules: tuple[str, ...] = ()
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Observation:
    """The record of one start.

    `folder` is where the app was started, `places` are its folders, `environment` is where it runs. `caches` maps the
    variables that lead to caches to these. `copied` are copies (source, target), `local_dirs` the `local_dir` folders
    of hub clients, `put` the written files that have a hub's bytes. `sees_native`: opens by native code were observed
    completely, so a file without an open was not opened. `first` is the first-use command, which began `used_at`
    seconds after the start; `had` are the digests of files in `made` that existed before the start, and that no known
    hub has. `env` are the app's variables that change which files it downloads. `outside` are the weights that it read
    outside of all places: no recipe can place them for another user. `start_list` lists the files of its folder and
    environment that it read until it was ready (guard/warm_up/start_list.py).
    """

    name: str
    folder: str
    command: tuple[str, ...]
    ready: str = ""
    caches: Mapping[str, str] = field(default_factory=dict)
    served: tuple[HubFile, ...] = ()
    loaded: tuple[Loaded, ...] = ()
    unpacked: tuple[Unpacked, ...] = ()
    opened: tuple[Opened, ...] = ()
    reached: tuple[Reached, ...] = ()
    made: tuple[Made, ...] = ()
    had: frozenset[Digest] = frozenset()
    put: tuple[Made, ...] = ()
    copied: tuple[tuple[str, str], ...] = ()
    local_dirs: frozenset[str] = frozenset()
    sees_native: bool = True
    places: Places = Places(Path("/"))  # noqa: RUF009 - a value, and frozen
    environment: AppPython = AppPython()  # noqa: RUF009 - a value, and frozen
    first: str = ""
    used_at: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[Made, ...] = ()
    start_list: str = ""
