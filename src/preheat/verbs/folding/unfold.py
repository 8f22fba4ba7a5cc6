"""Unfold: give every folded file its own bytes back, with the mode, group and times that it had.

The last file of a blob that nothing else needs gets the blob itself; all others get a copy, by reflink where possible.
Each copy is hashed before it replaces the link.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from preheat.core.digest import SHA256, Digest, hasher
from preheat.core.errors import IntegrityError, LibraryError
from preheat.core.events import LeftOut, Listener, Read, Reading
from preheat.core.snapshot import File
from preheat.core.units import say_path
from preheat.disk.file_hash import feed_all
from preheat.disk.free_space import disk_needs, require_space
from preheat.disk.regular_file import why
from preheat.disk.temporary_file import beside, lock, sync_folder, tidy
from preheat.library.library import Library
from preheat.library.records.shared_fs import shared
from preheat.library.upkeep.sweep import Sweep
from preheat.verbs.folding.fold import claim_folded, require_library
from preheat.verbs.folding.fold_journal import FileBefore, FoldJournal, JournalEntry
from preheat.verbs.folding.link_file import give_look, held_path
from preheat.views.links import COPY, REFLINK, is_unsupported, likely_way, make_link

# What a path is now: a link to the blob; the file that it was, perhaps with another mode; or another file, or nothing.
LINK, ITSELF, OTHER, AWAY = "link", "itself", "other", "away"
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
        # Reflinks take no space, but are hashed too.
        sizes = [(entry.path.parent, entry.before.size) for entry in copies]
        ways = {folder: likely_way(library.root, folder, (REFLINK, COPY)) for folder in {folder for folder, _ in sizes}}
        require_space(disk_needs((folder, size) for folder, size in sizes if ways[folder] == COPY))
        on_event(Reading("restore", len(sizes), sum(size for _, size in sizes)))
        try:
            for digest, entries in by_digest.items():
                undo.group(digest, entries)
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

    def to_copy(self, entries: Sequence[JournalEntry]) -> list[JournalEntry]:
        """Return the files that need bytes of their own: all links but one that may get the blob itself."""
        links = [entry for entry in entries if self._state(entry) == LINK]
        keeper = self._keeper(links)
        return [entry for entry in links if entry is not keeper]

    def group(self, digest: Digest, entries: Sequence[JournalEntry]) -> None:
        """Restore the files of one blob."""
        keeper = self._keeper([entry for entry in entries if self._state(entry) == LINK])
        for entry in entries:
            if entry is not keeper:
                self._each(entry, lambda: self._restore(entry))  # noqa: B023 - called at once
        if keeper is not None:
            self._each(keeper, lambda: self._give_blob(keeper, digest))

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

    def _each(self, entry: JournalEntry, act: Callable[[], None]) -> None:
        try:
            act()
        except (LibraryError, IntegrityError) as error:
            self._leave(entry.path, error.message)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._leave(entry.path, f"it cannot be restored: {why(error)}")
        if len(self._done) >= _SYNC_EVERY:
            self.end()

    def _leave(self, path: Path, reason: str) -> None:
        self._left.append((path, reason))
        self._on_event(LeftOut(say_path(path), reason))

    def _state(self, entry: JournalEntry) -> str:
        """Return what the path is now."""
        blob = self._library.path(entry.digest)
        try:
            look = entry.path.lstat()
        except FileNotFoundError:
            return OTHER if entry.path.parent.is_dir() else AWAY
        except NotADirectoryError:
            return OTHER
        if stat.S_ISLNK(look.st_mode):
            leads = os.path.realpath(entry.path) == os.path.realpath(blob)
            return LINK if leads else OTHER
        if not stat.S_ISREG(look.st_mode) or look.st_size != entry.before.size:
            return OTHER
        with suppress(OSError):
            if os.path.samestat(look, blob.stat()):
                return LINK
        # No name of the blob: a reflink, a hard link whose blob is gone, or a file that a killed process never linked.
        then = entry.after or entry.before
        return ITSELF if (look.st_ino, look.st_mtime_ns) == (then.inode, then.mtime_ns) else OTHER

    def _keeper(self, links: Iterable[JournalEntry]) -> JournalEntry | None:
        """Return the hard link that may get the blob itself; None on a network share, where that takes a minute."""
        if shared(self._library.root):
            return None
        return next((entry for entry in links if not entry.path.is_symlink()), None)

    def _restore(self, entry: JournalEntry) -> None:
        with ExitStack() as closing:
            held = _held(entry, closing)
            tidy(held.path)
            state = self._state(held)
            if state == AWAY:
                raise LibraryError("its folder is gone: connect its disk, and undo again")
            if state == OTHER:
                self._changed += 1
            elif state == ITSELF:
                self._restore_look(held)
            else:
                self._copy(held, self._library.path(entry.digest))
        self._done.append(entry.path)

    def _restore_look(self, entry: JournalEntry) -> None:
        """Give a file that is no link its mode and times back; if it shares its bytes with other names, in a copy."""
        if entry.after is not None and entry.after.how != REFLINK and entry.path.lstat().st_nlink > 1:
            self._copy(entry, entry.path)
            return
        _give_look_back(entry.path, entry.before)
        self._restored += 1

    def _give_blob(self, entry: JournalEntry, digest: Digest) -> None:
        """Make the file the only name of the blob's inode, if nothing else needs the blob; otherwise copy it."""
        with ExitStack() as closing:
            held = _held(entry, closing)
            path, blob = held.path, self._library.path(digest)
            tidy(path)
            if self._state(held) != LINK or path.is_symlink():
                self._restore(entry)
                return
            self._require_sound(digest, entry.before.size)
            done = {entry.path, *self._done}
            rest = {one.path: one.digest for one in self._journal.entries.values() if one.path not in done}
            self._library.claims.folded(self._journal.path, ((str(name), one) for name, one in rest.items()))
            sweep = Sweep(self._library.root, 0.0)
            plan = sweep.plan(only=[str(digest)])
            if plan.blobs and path.lstat().st_nlink == 1 + len(plan.blobs[0].names):
                sweep.carry_out(plan)
            if blob.exists() or path.lstat().st_nlink != 1:
                self._copy(held, path)
            else:
                _give_look_back(path, held.before)
                self._restored += 1
        self._done.append(entry.path)

    def _require_sound(self, digest: Digest, size: int) -> None:
        """Hash the blob, unless it is as it was when it was hashed last. Raise IntegrityError if it is corrupt."""
        if self._library.touched([File("model", size, digest)]):
            _hash(self._library.path(digest), digest, lambda read: self._on_event(Read(read)))

    def _copy(self, entry: JournalEntry, source: Path) -> None:
        path = entry.path
        aside = beside(path)
        try:
            if not self._reflinked(source, aside):
                _copy_sparse(source, aside)
                self._copied += entry.before.size
            _hash(aside, entry.digest, lambda read: self._on_event(Read(read)))
            _give_look_back(aside, entry.before)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        self._restored += 1

    def _reflinked(self, source: Path, aside: Path) -> bool:
        try:
            make_link(source, aside, REFLINK, mode=0o600)
        except OSError as error:
            aside.unlink(missing_ok=True)
            if not is_unsupported(error):
                raise
            return False
        return True


def _held(entry: JournalEntry, closing: ExitStack) -> JournalEntry:
    """Return an entry whose path leads to the same folder until `closing` closes, if the folder is there."""
    try:
        return replace(entry, path=held_path(entry.path, closing))
    except (FileNotFoundError, NotADirectoryError):
        return entry


def _give_look_back(path: Path, before: FileBefore) -> None:
    """Give the file at `path` the look of `before`, and make it durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        give_look(descriptor, before)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(path: Path, digest: Digest, on_read: Callable[[int], None]) -> None:
    with open(path, "rb", buffering=0) as file:
        read = hasher(SHA256, 0)
        feed_all(file.fileno(), (read,), on_read)
    if read.hexdigest() != digest.hex:
        raise IntegrityError(f"the library's copy of it is corrupt: it is not {digest}")


def _copy_sparse(source: Path, to: Path) -> None:
    """Copy a file; its holes stay holes."""
    private = partial(os.open, mode=0o600)
    with open(source, "rb", buffering=0) as old, open(to, "xb", buffering=0, opener=private) as new:
        lock(new.fileno())
        size = os.fstat(old.fileno()).st_size
        for start, stop in _extents(old.fileno(), size):
            at = start
            new.seek(start)
            while at < stop:
                sent = os.sendfile(new.fileno(), old.fileno(), at, stop - at)
                if not sent:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), str(source))
                at += sent
        os.ftruncate(new.fileno(), size)


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each part of a file that is not a hole."""
    stop = 0
    while stop < size:
        try:
            start = os.lseek(descriptor, stop, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole follows
                return
            raise
        stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, stop
