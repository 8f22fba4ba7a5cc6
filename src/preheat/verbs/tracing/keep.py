"""Keep: put every byte of a traced recipe into the library, from where the app has it; nothing is downloaded again."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError, LibraryError, NoSpace
from preheat.core.events import Listener, Noted
from preheat.core.placement import THEIRS, StatFields
from preheat.core.ref import HUGGING_FACE, MADE, MODELSCOPE, URL
from preheat.core.snapshot import File, Snapshot
from preheat.library.adopt.intake import Intake
from preheat.library.adopt.private_files import is_opened_by_link
from preheat.library.archives import unpack
from preheat.library.library import Library
from preheat.library.records.unread_files import UnreadFiles
from preheat.recipes.inference.bookkeeping import is_code
from preheat.recipes.inference.observation import Observation
from preheat.recipes.lock_file import Lock, Pinned
from preheat.verbs.tracing.observing.observe import Observed
from preheat.verbs.upkeep.cached_files import note_shared

# Bytes. A file that the app may write again is not linked to its blob, unless a copy would cost too much.
_LINKED_FROM = 1_000_000


def keep(
    lock: Lock,
    observed: Observed,
    library: Library,
    real: Callable[[str], Path],
    on_event: Listener,
    *,
    recorded: bool = True,
) -> tuple[File, ...]:
    """Store the files of a lock's needs that the library lacks, and record their versions; return those not found.

    Without `recorded`, `prune` removes the blobs that no other version needs.

    `real` returns where a file is stored, from where it can be linked. Files of the user become hard links to blobs, or
    share their extents; private files, and small ones that the app made, are copied. Raise NoSpace if the disk is full.
    """
    shelf = _Shelf(library, real, on_event)
    sources = _sources(observed.observation)
    missing: list[File] = []
    with library.wanted(*(pinned.snapshot for pinned in lock.needs)):
        for pinned in lock.needs:
            if pinned.need.unpack:
                missing += _unpacked(pinned, observed.archives, library)
            else:
                missing += shelf.take(pinned.snapshot.files, sources, copied=pinned.need.ref.hub == MADE)
            if recorded:
                _record(pinned, observed.snapshots, library)
    note_shared(shelf.new, library, on_event)
    return tuple(missing)


def note_unread(lock: Lock, fuller: Lock, library: Library, since: float) -> int:
    """Note the files of hubs that are in `fuller` only, and came into the library after `since`; return their bytes.

    `prune --unread` can remove them. `since` is in seconds of the wall clock.
    """
    notes, size = UnreadFiles(library.root), 0
    for pinned in lock.needs:
        notes.forget(pinned.snapshot.ref, pinned.snapshot.commit, pinned.snapshot.files)
    read = {file.digest for pinned in lock.needs for file in pinned.snapshot.files}
    for pinned in fuller.needs:
        some = [file for file in pinned.snapshot.files if file.digest not in read] if _is_of_hub(pinned) else []
        new = {file.digest: file for file in some if _came_after(library.path(file.digest), since)}
        if new:
            notes.note(pinned.snapshot.ref, pinned.snapshot.commit, new.values())
            size += sum(file.size for file in new.values())
            read |= new.keys()
    return size


def _is_of_hub(pinned: Pinned) -> bool:
    return pinned.need.ref.hub in (HUGGING_FACE, MODELSCOPE)


def _came_after(blob: Path, since: float) -> bool:
    try:
        return blob.stat().st_mtime >= since
    except OSError:
        return False


class _Shelf:
    """Takes files into the library; `new` lists the files that were taken."""

    def __init__(self, library: Library, real: Callable[[str], Path], on_event: Listener) -> None:
        self._library, self._real, self._on_event = library, real, on_event
        self.new: list[Path] = []
        library.prepare(0)
        self._link, self._copy = (
            Intake(library.root, library.path, lambda _: None, copy=copy) for copy in (False, True)
        )

    def take(self, files: Iterable[File], sources: Mapping[Digest, list[str]], *, copied: bool = False) -> list[File]:
        """Store those files that the library lacks; return those without a source whose bytes are right."""
        return [
            file
            for file in files
            if not self._library.holds(file.digest)
            and not any(self._one(file, path, copied=copied) for path in sources.get(file.digest, ()))
        ]

    def _one(self, file: File, path: str, *, copied: bool) -> bool:
        source = Path(os.path.realpath(self._real(path)))
        linked = not copied or (file.size >= _LINKED_FROM and not is_code(path))
        linked = linked and not _is_private(source)
        for intake in (self._link, self._copy) if linked else (self._copy,):
            try:
                taken = intake.take(source, file.digest)
            except NoSpace:
                raise
            except (IntegrityError, LibraryError) as error:
                why = error.message
                continue
            if taken.how != "here":
                self.new.append(source)
                self._library.seals.note(taken.digest, self._library.path(taken.digest))
            if taken.how == "hardlink" and str(source) == os.path.realpath(path):
                # The file still belongs to the user.
                self._library.marks.note(THEIRS, [(str(source), taken.digest, StatFields())])
            return True
        self._on_event(Noted(path, f"not kept in the library: {why}"))
        return False


def _is_private(path: Path) -> bool:
    """Return whether other users could read a file only if it were a hard link to a blob."""
    try:
        return is_opened_by_link(path, path.stat())
    except OSError:
        return False  # `Intake` reports it


def _sources(seen: Observation) -> dict[Digest, list[str]]:
    """Return the paths at which the app has files, by each of their digests."""
    found: dict[Digest, list[str]] = {}
    for made in (*seen.made, *seen.put):
        if made.digest is not None:
            found.setdefault(made.digest, []).append(made.path)
    for loaded in seen.loaded:
        found.setdefault(loaded.digest, []).append(loaded.path)
    for opened in seen.opened:
        for digest in opened.digests:
            found.setdefault(digest, []).append(opened.path)
    return {digest: list(dict.fromkeys(path for path in paths if path)) for digest, paths in found.items()}


def _unpacked(pinned: Pinned, archives: Mapping[str, Path], library: Library) -> list[File]:
    """Store an archive's members; return the files that are missing then."""
    archive = pinned.archive
    if not library.missing(pinned.snapshot):
        return []
    source = None if archive is None else archives.get(archive.digest.hex)
    if archive is None or source is None:
        return list(library.missing(pinned.snapshot))
    ref = pinned.need.ref
    file = File(ref.file_name, archive.size, archive.digest)
    # Its digest was verified, and its members are hashed again.
    unpack(library, Snapshot(ref, ref.revision, (file,)), pinned.need.unpack, source=source)
    return list(library.missing(pinned.snapshot))


def _record(pinned: Pinned, snapshots: Iterable[Snapshot], library: Library) -> None:
    """Record a need's version, with all files that are known of it."""
    snapshot = pinned.snapshot
    if pinned.need.unpack:
        return
    known = library.find(snapshot.ref.at(snapshot.commit))
    if known is None:
        same = (one for one in snapshots if one.commit == snapshot.commit and one.ref == snapshot.ref)
        known = next(same, snapshot)
        listed = {file.path: file for file in (*known.files, *snapshot.files)}
        known = Snapshot(snapshot.ref, snapshot.commit, tuple(listed[path] for path in sorted(listed)))
    elif snapshot.ref.hub in (URL, MADE):
        known = snapshot
    library.record(known.named(snapshot.ref))
