"""Kept downloads: add what a traced app downloaded by itself to the library, by its digest."""

from collections.abc import Iterable

from preheat.core.errors import IntegrityError, LibraryError, NoSpace
from preheat.core.events import Listener, Noted
from preheat.core.ref import URL
from preheat.library.adopt.intake import Intake
from preheat.library.library import Library
from preheat.recipes.inference.observation import Loaded
from preheat.recipes.lock_file import Lock
from preheat.verbs.tracing.workbench import OVERLAY, Workbench


def keep_downloads(
    locks: Iterable[Lock], loaded: Iterable[Loaded], bench: Workbench, library: Library, on_event: Listener
) -> None:
    """Add the files of needs from URLs to the library, and record the needs. Raise NoSpace if the disk is full."""
    paths = {one.digest: one.path for one in loaded}
    # On an overlay, the file is dropped later, and can be linked; otherwise it is the app's.
    intake = Intake(library.root, library.path, lambda _: None, copy=bench.how != OVERLAY)
    for pinned in (pinned for lock in locks for pinned in lock.needs if pinned.need.ref.hub == URL):
        for file in pinned.snapshot.files:
            path = paths.get(file.digest)
            if path is None or library.has(file.digest):
                continue
            try:
                intake.take(bench.real(path), file.digest)
            except NoSpace:
                raise
            except (LibraryError, IntegrityError) as error:
                on_event(Noted(path, error.message))
            else:
                library.seals.note(file.digest, library.path(file.digest))
        if not library.missing(pinned.snapshot):
            library.record(pinned.snapshot)
