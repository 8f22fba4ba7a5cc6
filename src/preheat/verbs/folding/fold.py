"""Fold: make each model file of apps one blob, and the apps' files links to it.

In this order, so that a kill at any moment loses nothing: the journal records the state of a group's files; the library
claims their blobs, which keeps `prune` from removing them; one file becomes the blob; each other file is replaced by
one rename.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preheat.core.digest import Digest, sha256
from preheat.core.errors import IntegrityError, LibraryError
from preheat.core.events import LeftOut, Listener, Read, Reading
from preheat.core.placement import THEIRS, StatFields
from preheat.core.snapshot import File
from preheat.core.units import say_path
from preheat.disk.regular_file import why
from preheat.disk.temporary_file import left, sync_folder, tidy
from preheat.library.adopt.intake import Intake
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.format_version import require_known_format
from preheat.library.library import Library
from preheat.verbs.folding.fold_journal import FileBefore, FoldJournal, LinkAfter, look_after, look_before
from preheat.verbs.folding.fold_plan import FOLD, FoldFile, FoldPlan, ModelGroup
from preheat.verbs.folding.link_file import replace_by_link, same_content, same_file
from preheat.verbs.folding.model_hashes import CHANGED
from preheat.views.links import HARDLINK

_GROUPS_AT_ONCE = 64  # for each fsync of the journal


@dataclass(frozen=True, slots=True)
class Folded:
    """Counts of a fold: `files` that became links, `freed` and `copied` bytes; `left`: files left unchanged, and why.

    `links` counts the files by kind of link.
    """

    files: int
    freed: int
    copied: int
    links: Mapping[str, int]
    left: tuple[tuple[Path, str], ...]


def fold(plan: FoldPlan, library: Library, journal: FoldJournal, on_event: Listener) -> Folded:
    """Carry out a plan. Files that have changed since, or that a program writes to, are left unchanged and reported.

    Raise NoSpace before anything is changed if the library's disk has too little free space for the copies, Busy if
    another process folds, LibraryError if the library with files that were folded before is gone.
    """
    require_library(library, journal)
    library.prepare(plan.disk.needed)
    to_read = sum(one.file.size for one in plan.files if one.state == FOLD and one.hash.look is None)
    on_event(Reading("fold", sum(one.state == FOLD for one in plan.files), to_read))
    with journal.alone():
        folding = _Folding(library, journal, on_event)
        groups = [group for group in plan.groups if any(one.state == FOLD for one in group.files)]
        # All at once: the claim of files that are then left unchanged keeps a blob a little longer, no more.
        claim_folded(
            library, journal, {one.file.path: _claim(group, one) for group in groups for one in _to_fold(group)}
        )
        try:
            for start in range(0, len(groups), _GROUPS_AT_ONCE):
                folding.groups(groups[start : start + _GROUPS_AT_ONCE])
        finally:
            folding.end()
            claim_folded(library, journal, {})
    return folding.folded()


def require_library(library: Library, journal: FoldJournal) -> None:
    """Raise LibraryError if the journal has folded files, but their library is gone, as with a removable disk."""
    require_known_format(library.root)
    if journal.entries and not (library.root / "format").exists():
        raise LibraryError(
            f"{library.root}, which has the bytes of {len(journal.entries)} folded files, is gone",
            hint="connect its disk; nothing was changed",
        )


def claim_folded(
    library: Library, journal: FoldJournal, more: Mapping[Path, tuple[Digest, int]], without: Collection[Path] = ()
) -> None:
    """Claim the blobs of the files in the journal, but those in `without`, and in `more`. Raise LibraryError."""
    files = {path: (one.digest, one.apart) for path, one in journal.entries.items() if path not in without} | dict(more)
    devices = {str(path): device for path, (_, device) in files.items() if device}
    try:
        library.claims.folded(journal.path, ((str(path), digest) for path, (digest, _) in files.items()), devices)
    except OSError as error:
        raise disk_trouble(error, library.root) from error


def _claim(group: ModelGroup, one: FoldFile) -> tuple[Digest, int]:
    """Return the blob of a file, and the number of the file's device if that is not the library's."""
    return sha256(group.sha256), one.file.look.st_dev if one.copied else 0


def _to_fold(group: ModelGroup) -> Iterator[FoldFile]:
    """Yield the files to fold; first one that can become the blob without a copy."""
    yield from sorted((one for one in group.files if one.state == FOLD), key=lambda one: one.copied)


class _Folding:
    """Folds groups of files, and counts."""

    def __init__(self, library: Library, journal: FoldJournal, on_event: Listener) -> None:
        self._library = library
        self._journal = journal
        self._on_event = on_event
        self._links: dict[str, int] = {}
        self._freed = self._copied = 0
        self._left: list[tuple[Path, str]] = []
        self._new: list[tuple[Path, LinkAfter]] = []
        self._theirs: list[tuple[str, Digest, StatFields]] = []
        self._folders: set[Path] = set()
        self._relinked: set[tuple[int, int]] = set()
        self._untidy: dict[Path, list[Path]] = {}  # by folder: what killed processes have left

    def groups(self, groups: list[ModelGroup]) -> None:
        """Fold some groups: note them all, fold each, and make the names durable."""
        befores: list[tuple[Path, FileBefore]] = []
        looks: dict[Path, os.stat_result] = {}
        for group in groups:
            for one in _to_fold(group):
                self._tidy(one.file.path)
                try:
                    look = one.file.path.lstat()
                except OSError as error:
                    self._leave(one.file.path, f"it is gone: {why(error)}")
                    continue
                if (look.st_uid, look.st_mode) != (one.file.look.st_uid, one.file.look.st_mode):
                    self._leave(one.file.path, CHANGED)  # other users may read it now, or no more
                    continue
                looks[one.file.path] = look
                befores.append((one.file.path, look_before(one.file.path, group.sha256, look)))
        self._journal.intend(befores)
        for group in groups:
            self._group(group, looks)
        self.end()

    def _tidy(self, path: Path) -> None:
        """Remove a second name that a killed process has left, which changes the ctime; list each folder once."""
        if path.parent not in self._untidy:
            self._untidy[path.parent] = left(path.parent)
        tidy(path, self._untidy[path.parent])

    def end(self) -> None:
        """Make the names durable, and note what the files have become."""
        new, self._new = self._new, []
        theirs, self._theirs = self._theirs, []
        for folder in self._folders:
            sync_folder(folder)
        self._folders.clear()
        self._library.seals.flush()
        # The files still belong to the user, although they are links to blobs.
        self._library.marks.note(THEIRS, theirs)
        self._journal.note(new)

    def folded(self) -> Folded:
        """Return the counts."""
        return Folded(sum(self._links.values()), self._freed, self._copied, self._links, tuple(self._left))

    def _group(self, group: ModelGroup, looks: Mapping[Path, os.stat_result]) -> None:
        digest = sha256(group.sha256)
        file = File("model", group.size, digest)
        files = [one for one in _to_fold(group) if one.file.path in looks]
        added: list[FoldFile] = []
        while files and not self._is_sound(file):
            # The first file becomes the blob; if it cannot, the next one.
            one = files.pop(0)
            added += [one] if self._add(one, digest, looks[one.file.path]) else []
        with self._library.linking([file]):
            for one in (*added, *files):
                self._link(one, digest, looks[one.file.path])

    def _is_sound(self, file: File) -> bool:
        """Return whether the library has the blob of a file, with its bytes: nothing else may have them afterwards."""
        try:
            return self._library.holds(file.digest) and self._library.sound_size(file) == file.size
        except OSError as error:
            raise disk_trouble(error, self._library.path(file.digest)) from error

    def _add(self, one: FoldFile, digest: Digest, look: os.stat_result) -> bool:
        """Make the blob of a file; return whether the file is still to be replaced by a link to it."""
        path = one.file.path
        # Where a hard link is not safe, a file that cannot be a reflink is copied, and then left unchanged.
        copy = one.copied or HARDLINK not in one.ways
        intake = Intake(self._library.root, self._library.path, lambda size: self._on_event(Read(size)), copy=copy)
        known = look if one.hash.is_certain(look) else None
        try:
            added = intake.take(path, digest, known)
        except (IntegrityError, LibraryError) as error:
            if type(error) not in (IntegrityError, LibraryError):
                raise  # such as NoSpace: not a problem of this file
            self._leave(path, error.message)
            return False
        if added.how == "here":  # another process was faster
            if self._is_sound(File("model", look.st_size, digest)):
                return True
            self._leave(path, f"the library's copy of it is corrupt: it is not {digest}")
            return False
        self._library.seals.note(digest, self._library.path(digest))
        if added.how == "copy":
            self._copied += added.size
            return True
        self._note(path, added.how, digest)
        return False

    def _link(self, one: FoldFile, digest: Digest, look: os.stat_result) -> None:
        path, blob = one.file.path, self._library.path(digest)
        try:
            now = path.lstat()
            if os.path.samestat(now, blob.stat()):
                self._note(path, HARDLINK, digest)  # another name of the file that became the blob
                return
            # Another name of the same file was replaced: that has changed its ctime.
            relinked = one.file.inode in self._relinked and same_content(now, look)
            if not relinked and not same_file(now, look):
                raise IntegrityError(CHANGED)
            certain = one.hash.is_certain(look)
            way = replace_by_link(path, blob, digest, one.ways, now, certain=certain)
        except (IntegrityError, LibraryError) as error:
            self._leave(path, error.message)
            return
        except OSError as error:
            self._leave(path, f"it cannot be replaced: {why(error)}")
            return
        if not certain:
            self._on_event(Read(look.st_size))
        self._relinked.add(one.file.inode)
        if now.st_nlink == 1:
            self._freed += now.st_blocks * 512
        self._note(path, way, digest)

    def _note(self, path: Path, how: str, digest: Digest) -> None:
        self._links[how] = self._links.get(how, 0) + 1
        self._new.append((path, look_after(path, how)))
        self._folders.add(path.parent)
        if how == HARDLINK:
            self._theirs.append((str(path), digest, StatFields()))

    def _leave(self, path: Path, reason: str) -> None:
        self._left.append((path, reason))
        self._journal.forget([path])
        self._on_event(LeftOut(say_path(path), reason))
