"""Folders: plain folders that a mirror serves, each under a repository's name."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from preheat.core.errors import HubUnavailable
from preheat.core.ref import FOLDER, HUGGING_FACE, MODEL, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.hubs.folder import Folder
from preheat.mirror.http.messages import Arriving


@dataclass(frozen=True, slots=True)
class ServedSnapshot:
    """A snapshot, and where each of its files lies; `locate` answers None for one that is not on this machine.

    `revisions` says which branches and tags are known, and at which commits. `admit` raises AccessDenied for a file
    that this client may not have; `fetch`, where there is an upstream, begins to bring one that is not here. `stale`
    says that the upstream does not answer, and this is what the ref meant when it last did. `prove` raises HubError or
    IntegrityError for bytes that are on this machine but that the repository has not shown to have. `continues` says
    whether a client may go on with what it has of a file.
    """

    snapshot: Snapshot
    locate: Callable[[File], Path | None]
    revisions: Callable[[], Mapping[str, str]] = dict
    admit: Callable[[File], None] = lambda _file: None
    fetch: Callable[[File], Arriving] | None = None
    stale: bool = False
    prove: Callable[[File], None] = lambda _file: None
    continues: Callable[[File], bool] = lambda _file: True


Find = Callable[[Ref], ServedSnapshot | None]


# A listing holds for so many times as long as it took: small folders are looked at for every request, large ones are
# not listed all the time.
_TIMES_ITS_COST = 20
_MOST_FOLDERS = 64  # looked at for every request; their time of change shows what was added or removed
_TICK_NS = 50_000_000  # what changed later than that before a listing may have changed in it


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a folder held: until when that holds, and the times of its folders, empty if they cannot be relied on."""

    snapshot: Snapshot
    until: float
    folders: tuple[tuple[Path, int], ...]

    def holds(self) -> bool:
        """Whether nothing shows that the folder has changed."""
        return time.monotonic() < self.until and bool(self.folders) and self.folders == _times(self.folders)


class Shelf:
    """Find repositories (`owner/name`, `datasets/owner/name`) in folders, at `main` and at the commit they make.

    A name stands for the repository on every hub, and a hub's own branch for `main`, since it was given by whoever
    runs the mirror. A folder that changes changes its commit. Threads may share a Shelf.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {replace(Ref.parse(name), revision=""): folder for name, folder in folders.items()}
        self._hub = Folder()
        self._turn = threading.Lock()
        self._listings: dict[Path, _Listing] = {}

    def find(self, ref: Ref) -> ServedSnapshot | None:
        """Find the repository at that revision; what cannot be read raises HubError."""
        folder = self._folders.get(Ref(HUGGING_FACE, ref.kind, ref.repo, ""))
        if folder is None:
            return None
        snapshot = self._listed(folder).named(ref)
        if ref.revision not in (ref.branch, snapshot.commit):
            return None
        return ServedSnapshot(snapshot, lambda file: self._place(folder, file), lambda: {ref.branch: snapshot.commit})

    def _listed(self, folder: Path) -> Snapshot:
        with self._turn:
            known = self._listings.get(folder)
        if known is not None and known.holds():
            return known.snapshot
        began, began_ns = time.monotonic(), time.time_ns()
        snapshot = self._hub.resolve(Ref(FOLDER, MODEL, str(folder)))
        inner = {parent for file in snapshot.files for parent in PurePosixPath(file.path).parents}
        watched = sorted(inner | {PurePosixPath()})[:_MOST_FOLDERS]
        folders = _times([(folder / one, 0) for one in watched])
        if any(began_ns - changed_ns < _TICK_NS for _, changed_ns in folders):
            folders = ()
        now = time.monotonic()
        with self._turn:
            self._listings[folder] = _Listing(snapshot, now + _TIMES_ITS_COST * (now - began), folders)
        return snapshot

    def _place(self, folder: Path, file: File) -> Path:
        """Say where a file lies; raise HubUnavailable if it is not the one that was listed."""
        if not self._hub.unchanged(folder, file):
            with self._turn:
                self._listings.pop(folder, None)
            raise HubUnavailable(f"{file.path} has just changed on this mirror", wait_s=1.0)
        return folder / file.path


def _times(folders: Iterable[tuple[Path, int]]) -> tuple[tuple[Path, int], ...]:
    """Return the folders with their times of change now; nothing if one cannot be read."""
    try:
        return tuple((path, path.stat().st_mtime_ns) for path, _ in folders)
    except OSError:
        return ()
