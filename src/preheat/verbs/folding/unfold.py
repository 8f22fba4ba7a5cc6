"""Unfold: give every folded file its own bytes back, with the mode, group and times that it had.

One file of a blob that nothing else needs gets the blob itself; all others get a copy, by reflink where possible. Each
copy is hashed before it replaces the link. Names of one file become names of one file again.
"""

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError, LibraryError
from preheat.core.events import LeftOut, Listener, Read, Reading
from preheat.core.snapshot import File
from preheat.core.units import say_path
from preheat.core.values.replace import replace
from preheat.disk.free_space import disk_needs, require_space
from preheat.disk.regular_file import why
from preheat.disk.sparse_copy import copy_sparse
from preheat.disk.temporary_file import beside, left, sync_folder, tidy
from preheat.library.library import Library
from preheat.library.records.shared_fs import shared
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.folding.fold import claim_folded, require_library
from preheat.verbs.folding.fold_journal import (
    AWAY,
    ITSELF,
    LINK,
    OTHER,
    FoldJournal,
    JournalEntry,
    look_after,
    state_now,
)
from preheat.verbs.folding.link_file import blocks_of, check_bytes, give_look_back, held_path, inode_of, is_alone
from preheat.views.links import COPY, HARDLINK, REFLINK, is_unsupported, likely_way, make_link

_SYNC_EVERY = 64


@dataclass(frozen=True, slots=True)
class Unfolded:
    """Counts of an undo: `restored` files, `copied` bytes, files that were `changed` or removed since, and `left` ones.

    `left`: files that could not be restored, with the reasons; the journal keeps them.
    """

    restored: int
    copied: int
    changed: int
    left: tuple[tuple[Path, str], ...]


def unfold(library: Library, journal: FoldJournal, on_event: Listener) -> Unfolded:
    """Restore all files of the journal. Files that are no links any more are left unchanged, and forgotten.

    Raise NoSpace before anything is changed if a disk has too little free space, Busy if another process folds.
    """
    require_library(library, journal)
    with journal.alone():
        claim_folded(library, journal, {})  # in place of an earlier version's claim
        undo = _Unfolding(library, journal, on_event)
        by_digest: dict[Digest, list[JournalEntry]] = {}
        for entry in journal.entries.values():
            by_digest.setdefault(entry.digest, []).append(entry)
        copies = [entry for one in by_digest.values() for entry in undo.to_copy(one)]
        # Reflinks take no space, but are hashed too; holes stay holes.
        sizes = [(entry.path.parent, blocks_of(library.path(entry.digest), entry.before.size)) for entry in copies]
        ways = {folder: likely_way(library.root, folder, (REFLINK, COPY)) for folder in {folder for folder, _ in sizes}}
        require_space(disk_needs((folder, size) for folder, size in sizes if ways[folder] == COPY))
        on_event(Reading("restore", len(copies), sum(entry.before.size for entry in copies)))
        try:
            undo.groups(list(by_digest.items()))
        finally:
            undo.end()
            journal.tidy()
            claim_folded(library, journal, {})
    return undo.unfolded()


class _Unfolding:
    """Restores groups of files with the same bytes, and counts."""

    def __init__(self, library: Library, journal: FoldJournal, on_event: Listener) -> None:
        self._library = library
        self._journal = journal
        self._on_event = on_event
        self._restored = self._copied = self._changed = 0
        self._left: list[tuple[Path, str]] = []
        self._done: list[Path] = []
        self._untidy: dict[Path, bool] = {}  # by folder: whether a killed process has left files there
        self._keeps = not shared(library.root)
        self._first: dict[tuple[object, ...], tuple[Path, int]] = {}  # by origin: a restored name, and its inode

    def to_copy(self, entries: Sequence[JournalEntry]) -> list[JournalEntry]:
        """Return one name of each file that needs bytes of its own: of all links but those that may get the blob."""
        keepers = self._keepers(entries)
        links = {entry.origin: entry for entry in entries if self._state(entry) == LINK}
        return [entry for origin, entry in links.items() if not keepers or origin != keepers[0].origin]

    def groups(self, groups: Sequence[tuple[Digest, Sequence[JournalEntry]]]) -> None:
        """Restore the files of all blobs: first those that need copies, then those that get the blobs.

        Blobs are freed together, since each sweep looks at the whole library. They take no space meanwhile that their
        files would not.
        """
        ready: list[tuple[JournalEntry, ...]] = []
        free: list[tuple[JournalEntry, ...]] = []
        for _, entries in groups:
            keepers = self._keepers(entries)
            kept = {entry.path for entry in keepers}
            # First, since each link that is replaced changes the blob's ctime, so that it would be hashed.
            is_ready = bool(keepers) and self._try(keepers, partial(self._prepare, keepers))
            others = [entry for entry in entries if entry.path not in kept]
            for entry in others:
                self._try([entry], partial(self._restore, entry))
            ready += [keepers] if is_ready else []
            # A link that could not be restored still needs the blob.
            free += [keepers] if is_ready and all(self._state(entry) != LINK for entry in others) else []
        if ready and self._try([entry for keepers in ready for entry in keepers], partial(self._free, free)):
            for keepers in ready:
                for entry in keepers:
                    self._try([entry], partial(self._keep, entry, len(keepers)))

    def end(self) -> None:
        """Make the restored names durable, and forget them."""
        done, self._done = self._done, []
        for folder in {path.parent for path in done}:
            with suppress(OSError):
                sync_folder(folder)
        self._journal.forget(done)

    def unfolded(self) -> Unfolded:
        """Return the counts."""
        return Unfolded(self._restored, self._copied, self._changed, tuple(self._left))

    def _try(self, entries: Sequence[JournalEntry], act: Callable[[], None]) -> bool:
        """Return whether a step worked; otherwise these files are left, with the reason."""
        reason = ""
        try:
            act()
        except (LibraryError, IntegrityError) as error:
            reason = error.message
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            reason = f"it cannot be restored: {why(error)}"
        for entry in entries if reason else ():
            self._leave(entry.path, reason)
        if len(self._done) >= _SYNC_EVERY:
            self.end()
        return not reason

    def _leave(self, path: Path, reason: str) -> None:
        self._left.append((path, reason))
        self._on_event(LeftOut(say_path(path), reason))

    def _state(self, entry: JournalEntry) -> str:
        return state_now(entry, self._library.path(entry.digest), self._library.root)

    def _keepers(self, entries: Iterable[JournalEntry]) -> tuple[JournalEntry, ...]:
        """Return the names of the file that may get the blob itself: of the one that became it, if it is among them.

        None on a network share, where that takes a minute.
        """
        links = [entry for entry in entries if self._keeps and self._state(entry) == LINK]
        links = [entry for entry in links if not entry.path.is_symlink()]
        if not links:
            return ()
        inode = inode_of(self._library.path(links[0].digest))
        first = next((entry for entry in links if entry.before.inode == inode), links[0])
        return tuple(entry for entry in links if entry.origin == first.origin)

    def _restore(self, entry: JournalEntry) -> None:
        with ExitStack() as closing:
            held = self._held(entry, closing)
            state = self._state(held)
            if self._is_restored(held):
                self._restored += 1
            elif state == AWAY:
                raise LibraryError("its disk is away: connect it, and undo again")
            elif state == OTHER:
                self._changed += 1
            elif state == ITSELF:
                self._restore_look(held, entry)
            else:
                self._copy(held, self._library.path(entry.digest), entry)
        self._done.append(entry.path)

    def _restore_look(self, held: JournalEntry, entry: JournalEntry) -> None:
        """Give a file that is no link its mode and times back; if it is now a name of another file, in a copy."""
        look = held.path.lstat()
        then = entry.after
        if then is not None and then.how != REFLINK and look.st_nlink > 1 and look.st_ino != entry.before.inode:
            self._copy(held, held.path, entry)
        else:
            self._give_look_back(held, entry)

    def _prepare(self, keepers: Sequence[JournalEntry]) -> None:
        """Check that files may get the blob, and note what they are, if a killed fold has not done so."""
        for entry in keepers:
            with ExitStack() as closing:
                self._held(entry, closing)
        digest, size = keepers[0].digest, keepers[0].before.size
        if self._library.touched([File("model", size, digest)]):
            check_bytes(self._library.path(digest), digest, lambda read: self._on_event(Read(read)))
        new = [entry.path for entry in keepers if entry.after is None]
        self._journal.note((path, look_after(path, HARDLINK)) for path in new)

    def _free(self, all_names: Sequence[Sequence[JournalEntry]]) -> None:
        """Remove from the library the blobs that nothing needs but one file each. Raise LibraryError.

        `all_names`: for each blob, the names of its file that are in the journal.
        """
        without = {*self._done, *(entry.path for names in all_names for entry in names)}
        claim_folded(self._library, self._journal, {}, without=without)
        sweep = Sweep(self._library.root, 0.0)
        plan = sweep.plan(only=[str(names[0].digest) for names in all_names])
        blobs = {name: len(blob.names) for blob in plan.blobs for name in blob.names}
        firsts = [(names[0], blobs.get(names[0].digest, 0) + len(names)) for names in all_names]
        alone = {first.digest for first, links in firsts if is_alone(first.path, first.before, links)}
        sweep.carry_out(replace(plan, blobs=tuple(blob for blob in plan.blobs if not alone.isdisjoint(blob.names))))

    def _keep(self, entry: JournalEntry, names: int) -> None:
        """Restore the look of a file with so many names, which was the blob; copy it if other files share it."""
        entry = self._journal.entries[entry.path]
        with ExitStack() as closing:
            held = self._held(entry, closing)
            if self._is_restored(held) or self._state(held) != ITSELF or held.path.is_symlink():
                self._restore(entry)
                return
            if is_alone(held.path, held.before, names):
                self._give_look_back(held, entry)
            else:
                self._copy(held, held.path, entry)
        self._done.append(entry.path)

    def _is_restored(self, held: JournalEntry) -> bool:
        """Return whether a file is the same as another name that was restored."""
        return held.origin in self._first and inode_of(held.path) == self._first[held.origin][1]

    def _give_look_back(self, held: JournalEntry, entry: JournalEntry) -> None:
        give_look_back(held.path, entry.before)
        self._first[entry.origin] = entry.path, inode_of(held.path)
        self._restored += 1

    def _held(self, entry: JournalEntry, closing: ExitStack) -> JournalEntry:
        """Return an entry whose path leads to the same folder until `closing` closes, if the folder is there."""
        try:
            held = replace(entry, path=held_path(entry.path, closing))
        except (FileNotFoundError, NotADirectoryError):
            return entry
        folder = entry.path.parent
        if folder not in self._untidy:
            self._untidy[folder] = bool(left(folder))
        if self._untidy[folder]:
            tidy(held.path)
        return held

    def _copy(self, held: JournalEntry, source: Path, entry: JournalEntry) -> None:
        path = held.path
        aside = beside(path)
        try:
            if not self._linked(held, aside):
                if not self._reflinked(source, aside):
                    copy_sparse(source, aside)
                    self._copied += entry.before.size
                check_bytes(aside, entry.digest, lambda read: self._on_event(Read(read)))
                give_look_back(aside, entry.before)
            self._first[entry.origin] = entry.path, inode_of(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        self._restored += 1

    def _linked(self, held: JournalEntry, aside: Path) -> bool:
        """Make another name of a file that was restored, if both were names of one file."""
        first, inode = self._first.get(held.origin, (None, 0))
        if first is None:
            return False
        with suppress(OSError):
            os.link(first, aside, follow_symlinks=False)
            if inode_of(aside) == inode:  # no other program has put a file there
                return True
        aside.unlink(missing_ok=True)
        return False

    def _reflinked(self, source: Path, aside: Path) -> bool:
        try:
            make_link(source, aside, REFLINK, mode=0o600)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if not is_unsupported(error):
                raise
            return False
        return True
