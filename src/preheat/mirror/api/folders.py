"""Folders: serve plain folders, each as a repository."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from preheat.core.errors import HubUnavailable
from preheat.core.ref import FOLDER, HUGGING_FACE, MODEL, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.units import say_some
from preheat.hubs.folder import Folder
from preheat.mirror.http.messages import Arriving


@dataclass(frozen=True, slots=True)
class ServedSnapshot:
    """A snapshot, and functions that serve its files.

    `locate` returns a file's path, None if it is not on this machine. `revisions` returns the known branches and tags
    with their commits. `admit` raises AccessDenied for a file that this client may not have. `fetch` starts the
    download of a missing file; None without an upstream. `stale` means that upstream does not answer, and that this is
    the last known commit of the ref. `prove` raises HubError or IntegrityError if the file is on this machine, but the
    repository has not proved that it has the bytes too. `continues` returns whether a client may resume a partial file.
    """

    snapshot: Snapshot
    locate: Callable[[File], Path | str | None]
    revisions: Callable[[], Mapping[str, str]] = dict
    admit: Callable[[File], None] = lambda _file: None
    fetch: Callable[[File], Arriving] | None = None
    stale: bool = False
    prove: Callable[[File], None] = lambda _file: None
    continues: Callable[[File], bool] = lambda _file: True

    @property
    def why_partial(self) -> str:
        """Return why no list of the files can be sent; empty if it can.

        A client would take a list without the files that are known to be missing for a list of all files.
        """
        names = self.snapshot.unlisted
        if not names:
            return ""
        return f"{self.snapshot.ref} is incomplete on this mirror: missing {say_some(names)}"


Find = Callable[[Ref], ServedSnapshot | None]


# Cache a listing for this multiple of the time that it took: small folders are listed for each request, large ones
# rarely.
_TIMES_ITS_COST = 20
_MOST_FOLDERS = 64  # checked for each request; their mtimes show added and removed files
_TICK_NS = 50_000_000  # a listing made less than this after a change is not cached


@dataclass(frozen=True, slots=True)
class _Listing:
    """A listing, its expiry, and the mtimes of its folders, empty if they are too recent to rely on."""

    snapshot: Snapshot
    until: float
    folders: tuple[tuple[Path, int], ...]

    def holds(self) -> bool:
        """Return whether the listing is unexpired and no folder has changed."""
        return time.monotonic() < self.until and bool(self.folders) and self.folders == _times(self.folders)


class Shelf:
    """Find repositories (`owner/name`, `datasets/owner/name`) in folders, at `main` and at the commit of their content.

    A repository has its name on every hub, and `main` is the default branch of each hub. The commit changes with the
    folder's content. Thread-safe.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {Ref.parse(name).at(""): folder for name, folder in folders.items()}
        self._hub = Folder()
        self._turn = threading.Lock()
        self._listings: dict[Path, _Listing] = {}

    def find(self, ref: Ref) -> ServedSnapshot | None:
        """Find the repository at that revision, or None; raise HubError if the folder cannot be read."""
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
        # New and changed files were hashed, which takes longer than listing: the next listing shows its own cost.
        hashed = known is None or known.snapshot != snapshot
        if hashed or any(began_ns - changed_ns < _TICK_NS for _, changed_ns in folders):
            folders = ()
        now = time.monotonic()
        with self._turn:
            self._listings[folder] = _Listing(snapshot, now + _TIMES_ITS_COST * (now - began), folders)
        return snapshot

    def _place(self, folder: Path, file: File) -> Path:
        """Return a file's path; raise HubUnavailable if it has changed since it was listed."""
        if not self._hub.unchanged(folder, file):
            with self._turn:
                self._listings.pop(folder, None)
            raise HubUnavailable(f"{file.path} has just changed on this mirror", wait_s=1.0)
        return folder / file.path


def _times(folders: Iterable[tuple[Path, int]]) -> tuple[tuple[Path, int], ...]:
    """Return the folders with their mtimes now; empty if one cannot be read."""
    try:
        return tuple((path, path.stat().st_mtime_ns) for path, _ in folders)
    except OSError:
        return ()
