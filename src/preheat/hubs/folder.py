"""Folder: a local folder as a hub, named `file:DIR`."""

import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.digest import GIT_SHA1, SHA256, Digest, hasher
from preheat.core.errors import AccessDenied, HubError, NotFound
from preheat.core.events import Listener, Read, Reading
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot, listing_commit
from preheat.core.units import say_size
from preheat.disk.file_part import FilePart
from preheat.disk.lfs_pointer import read_pointer
from preheat.hubs.hub import Reader

_SKIPPED = frozenset((".git", ".cache"))
# Hubs store larger files in LFS, with a sha256; a folder uses the same kinds of digests.
_LFS_FROM = 1024 * 1024
_CHUNK = 1024 * 1024
_MOST_KNOWN = 10_000
_WORTH_SHOWING = 100_000_000  # bytes to hash, which takes about a second on a slow disk


@dataclass(frozen=True, slots=True)
class Folder:
    """Resolve `file:` refs; the commit is a hash of the file list, so it changes only when the files change.

    A file is hashed again only if its size, inode, mtime or ctime has changed. `on_event` receives the progress of
    hashing large files. Thread-safe.
    """

    round_trip_s = 0.0
    on_event: Listener = lambda _: None
    _known: dict[tuple[str, int, int, int, int], File] = field(default_factory=dict, init=False, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def resolve(self, ref: Ref) -> Snapshot:
        """See Hub.

        Contains regular files, sorted by path, without `.git` and `.cache`. A link to a file inside counts as that
        file. Any other link, and a git-lfs pointer, raises HubError, because skipping it could silently store an
        incomplete model.
        """
        root = Path(ref.repo)
        if not root.is_dir():
            raise NotFound(f"{root} is not a folder", hint="file:DIR must be an existing folder")
        try:
            paths = sorted(_paths(root))
            self._announce(root, paths)
            files = tuple(self._file(root, path) for path in paths)
        except PermissionError as error:
            raise AccessDenied(f"{error.filename} is not readable", hint="change its owner or mode") from error
        except OSError as error:
            raise HubError(f"{root} cannot be read: {error}", hint="try again when no process changes it") from error
        if len(self._known) > _MOST_KNOWN + 4 * len(files):
            self._known.clear()  # most entries are of earlier states of the files
        commit = listing_commit(files)
        if ref.revision not in ("main", commit):
            raise NotFound(
                f"{root} is not at {ref.revision}: it is at {commit}", hint="a folder has only its current state"
            )
        return Snapshot(ref, commit, files)

    def open(self, snapshot: Snapshot, file: File, start: int, stop: int) -> Reader:
        """See Hub."""
        path = Path(snapshot.ref.repo, file.path)
        try:
            reader = FilePart(_inside(Path(snapshot.ref.repo), path), start, stop)
        except FileNotFoundError as error:
            raise NotFound(
                f"{path} is gone", hint=f"preheat pull {snapshot.ref}, when no process changes it"
            ) from error
        except PermissionError as error:
            raise AccessDenied(f"{path} is not readable", hint="change its owner or mode") from error
        except OSError as error:
            raise HubError(f"{path} cannot be read: {error}", hint="check that it is still a file") from error
        return reader

    def unchanged(self, root: Path, file: File) -> bool:
        """Whether a file listed in `root` is unchanged, judged by its stat; costs one stat(2)."""
        try:
            return self._known.get(_key(root / file.path)) == file
        except OSError:
            return False

    def _file(self, root: Path, path: str) -> File:
        """Return a file with its digest, from the cache if it has not changed."""
        full = root / path
        key = _key(full)
        known = self._known.get(key)
        if known is None:
            # Under a lock, so that 50 mirror clients at once make it hash the file only once.
            with self._turn:
                known = self._known.get(key)
                if known is None:
                    known = self._known[key] = _read(full, path, lambda size: self.on_event(Read(size)))
        return known

    def _announce(self, root: Path, paths: Sequence[str]) -> None:
        """Emit how many bytes will be read, if that takes long enough to be shown."""
        keys = [_key(root / path) for path in paths]
        new = [size for name, size, *times in keys if (name, size, *times) not in self._known]
        if sum(new) >= _WORTH_SHOWING:
            self.on_event(Reading("hash", len(new), sum(new)))


def _key(full: Path) -> tuple[str, int, int, int, int]:
    status = full.stat()
    return str(full), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _paths(root: Path, under: str = "") -> Iterator[str]:
    """Yield the paths of the files below `root`, relative to it, in no particular order."""
    with os.scandir(root / under) as entries:
        for entry in entries:
            if entry.name in _SKIPPED:
                continue
            path = f"{under}/{entry.name}" if under else entry.name
            _require_name(root, path)
            if entry.is_symlink():
                _inside(root, Path(entry.path))
                if not entry.is_file():
                    raise HubError(
                        f"{entry.path} is a link to no file", hint="remove it, or replace it by a copy of its target"
                    )
                yield path
            elif entry.is_dir():
                yield from _paths(root, path)
            elif entry.is_file():
                yield path


def _require_name(root: Path, path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise HubError(
            f"the name {os.fsencode(path)!r} in {root} is not UTF-8", hint="rename the file: hubs require UTF-8"
        ) from error


def _inside(root: Path, path: Path) -> Path:
    """Return the target of `path`, with all links followed. Raise HubError if it is outside `root`."""
    end = Path(os.path.realpath(path))
    if not end.is_relative_to(os.path.realpath(root)):
        raise HubError(
            f"{path} is a link out of {root}",
            hint="use the folder that contains both, or a copy without links: cp -rL",
        )
    return end


def _read(full: Path, path: str, on_read: Callable[[int], None]) -> File:
    """Read a file once and return it with its size and digest."""
    with open(full, "rb", buffering=0) as source:
        if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            raise HubError(f"{full} is no longer a file", hint="try again when no process changes it")
        head = source.read(_CHUNK)
        while len(head) < _LFS_FROM and (more := source.read(_LFS_FROM - len(head))):
            head += more
        if (pointer := read_pointer(head)) is not None:
            raise HubError(
                f"{full} is a git-lfs pointer to a file of {say_size(pointer.size)}, not the file itself",
                hint="git lfs pull downloads it; or pull the model from its hub",
            )
        algorithm = SHA256 if len(head) >= _LFS_FROM else GIT_SHA1
        naming = hasher(algorithm, len(head))
        naming.update(head)
        size = len(head)
        on_read(size)
        if algorithm == SHA256:
            buffer = memoryview(bytearray(_CHUNK))
            while count := source.readinto(buffer):
                naming.update(buffer[:count])
                size += count
                on_read(count)
    return File(path, size, Digest(algorithm, naming.hexdigest()))
