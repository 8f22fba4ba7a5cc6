"""Shelf: plain folders to serve, each under a repository's name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from preheat.hubs.folder import Folder
from preheat.mirror.forms import Arriving
from preheat.ref import FOLDER, HUGGING_FACE, MODEL, Ref
from preheat.snapshot import File, Snapshot


@dataclass(frozen=True, slots=True)
class Found:
    """A snapshot, and where each of its files lies; `locate` answers None for one that is not on this machine.

    `revisions` says which branches and tags are known, and at which commits. `admit` raises AccessDenied for a file
    that this client may not have; `fetch`, where there is an upstream, begins to bring one that is not here. `stale`
    says that the upstream does not answer, and this is what the ref meant when it last did.
    """

    snapshot: Snapshot
    locate: Callable[[File], Path | None]
    revisions: Callable[[], Mapping[str, str]] = dict
    admit: Callable[[File], None] = lambda _file: None
    fetch: Callable[[File], Arriving] | None = None
    stale: bool = False


Find = Callable[[Ref], Found | None]


class Shelf:
    """Find repositories (`owner/name`, `datasets/owner/name`) in folders, at `main` and at the commit they make.

    A name stands for the repository on every hub, and a hub's own branch for `main`, since it was given by whoever
    runs the mirror. A folder that changes changes its commit. Threads may share a Shelf.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {replace(Ref.parse(name), revision=""): folder for name, folder in folders.items()}
        self._hub = Folder()

    def find(self, ref: Ref) -> Found | None:
        """Find the repository at that revision; what cannot be read raises HubError."""
        folder = self._folders.get(Ref(HUGGING_FACE, ref.kind, ref.repo, ""))
        if folder is None:
            return None
        snapshot = replace(self._hub.resolve(Ref(FOLDER, MODEL, str(folder))), ref=ref)
        if ref.revision not in (ref.branch, snapshot.commit):
            return None
        return Found(snapshot, lambda file: folder / file.path, lambda: {ref.branch: snapshot.commit})
