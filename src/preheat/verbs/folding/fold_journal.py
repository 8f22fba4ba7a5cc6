"""Fold journal: what each folded file was before, in this user's state, to restore it at any time.

One file for each library, with a JSON object a line. A file is `intended` before it is touched, and `folded` when it is
a link; after a kill, the file itself shows how far its fold came. `restored` ends the entries of a path. Only this user
can write the journal: one that comes with an app could name any path.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from preheat.core.digest import Digest, sha256
from preheat.core.errors import Busy, LibraryError
from preheat.disk.regular_file import why
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.file_lock import take
from preheat.library.blobs.partial import BLOB_MODE
from preheat.library.quoted_paths import quoted, unquoted
from preheat.library.records.claims import is_deleted
from preheat.library.small_files import read_small
from preheat.views.links import HARDLINK, REFLINK

# What a path is now: a link to the blob; the file that it was, perhaps with another mode; or another file, or nothing.
LINK, ITSELF, OTHER, AWAY = "link", "itself", "other", "away"
WRITTEN_THROUGH = (
    "a program has written to it in place since it was folded, and so to the library's copy and all other links of it; "
    "to take that copy out of use: preheat verify"
)
_ACL = "system.posix_acl_access"  # acl(5)
_MOST = 1 << 30  # bytes; a line has about 300


class FileBefore(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file as it was: the digits of its sha256, size in bytes, mode, group, times, inode, and xattrs as hex."""

    sha256: str
    size: int
    mode: int
    gid: int
    atime_ns: int
    mtime_ns: int
    inode: int
    xattrs: dict[str, str] = {}


class LinkAfter(msgspec.Struct, frozen=True):
    """A file as it is since it was folded: the kind of link, device, inode, size and mtime."""

    how: str
    device: int
    inode: int
    size: int
    mtime_ns: int


class _JournalLine(msgspec.Struct, frozen=True, omit_defaults=True):
    path: str
    intended: FileBefore | None = None
    folded: LinkAfter | None = None
    restored: bool = False


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A file that was, or may have been, folded: its path, its state before and, if known, its state after."""

    path: Path
    before: FileBefore
    after: LinkAfter | None = None

    @property
    def digest(self) -> Digest:
        """Return the digest of its bytes."""
        return sha256(self.before.sha256)

    @property
    def apart(self) -> int:
        """Return the number of its device, if that is not the library's: only then is it a symlink; else 0."""
        return self.after.device if self.after is not None and self.after.how == "symlink" else 0

    def is_reflink(self, look: os.stat_result) -> bool:
        """Return whether a file is still the copy by reflink that it became."""
        then = self.after
        if then is None or then.how != REFLINK:
            return False
        now = (look.st_dev, look.st_ino, look.st_size, look.st_mtime_ns)
        return (then.device, then.inode, then.size, then.mtime_ns) == now

    def is_written_through(self, look: os.stat_result, digest: str, blob: Path) -> bool:
        """Return whether a file has other bytes now, but is still a hard link of the library's `blob`.

        Then a program that modes do not stop has written to it in place, and so to all other links of the blob.
        """
        if self.after is None or self.after.how != HARDLINK or digest == self.before.sha256:
            return False
        with suppress(OSError):
            return os.path.samestat(look, blob.stat())
        return False

    @property
    def origin(self) -> tuple[object, ...]:
        """Return what all names of one file had in common, before they became links."""
        before = self.before
        return before.sha256, before.inode, before.mtime_ns, before.mode, before.gid


class FoldJournal:
    """The journal of the library at `root`, in the folder `state`; `entries` are the files that are not restored."""

    def __init__(self, state: Path, root: Path) -> None:
        short = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        self.path = state / f"{short}.journal"
        self.root = root
        self.entries = self._read()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes of this user from folding or restoring. Raise Busy if one does."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = take(self.path.with_suffix(".lock"), 0o600)
        if lock is None:
            raise Busy("another preheat process is folding files", hint="wait for it, then run the same command again")
        try:
            self.entries = self._read()
            yield
        finally:
            os.close(lock)

    def intend(self, files: Iterable[tuple[Path, FileBefore]]) -> None:
        """Note files that will be folded; they are on disk when this returns. Raise LibraryError."""
        new = [(path, self._begun(path, before) or before) for path, before in files]
        self.entries |= {path: JournalEntry(path, before) for path, before in new}
        self._append(_JournalLine(quoted(path), intended=before) for path, before in new)

    def _begun(self, path: Path, before: FileBefore) -> FileBefore | None:
        """Return how a file was before a fold that was killed when it had made the file a blob, and read-only."""
        known = self.entries.get(path)
        if known is None or known.after is not None or before.mode != BLOB_MODE:
            return None
        then = known.before
        is_same = (then.inode, then.mtime_ns, then.sha256) == (before.inode, before.mtime_ns, before.sha256)
        return then if is_same else None

    def note(self, files: Iterable[tuple[Path, LinkAfter]]) -> None:
        """Note what files have become."""
        done = list(files)
        for path, after in done:
            self.entries[path] = JournalEntry(path, self.entries[path].before, after)
        self._append(_JournalLine(quoted(path), folded=after) for path, after in done)

    def forget(self, paths: Iterable[Path]) -> None:
        """Note that files are restored, or are no longer folded."""
        gone = list(paths)
        for path in gone:
            self.entries.pop(path, None)
        self._append(_JournalLine(quoted(path), restored=True) for path in gone)

    def tidy(self) -> None:
        """Rewrite the journal with the files that are not restored yet; remove it if there are none."""
        if not self.entries:
            self.path.unlink(missing_ok=True)
            return
        lines = [_JournalLine(quoted(one.path), one.before, one.after) for one in self.entries.values()]
        write_whole(self.path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines), mode=0o600)

    def _read(self) -> dict[Path, JournalEntry]:
        try:
            body = read_small(self.path, _MOST)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._trouble(error) from error
        entries: dict[Path, JournalEntry] = {}
        for text in body.split(b"\n")[:-1]:  # a line without its end was being written when the process was killed
            try:
                line = msgspec.json.decode(text, type=_JournalLine)
            except (msgspec.DecodeError, ValueError, RecursionError):
                continue  # the end of such a line, with the next one
            path = Path(unquoted(line.path))
            if line.intended is not None:
                entries[path] = JournalEntry(path, line.intended)
            if line.folded is not None and path in entries:
                entries[path] = JournalEntry(path, entries[path].before, line.folded)
            if line.restored:
                entries.pop(path, None)
        return entries

    def _append(self, lines: Iterable[_JournalLine]) -> None:
        body = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        if not body:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            log = os.open(self.path, flags, 0o600)
            try:
                size = os.fstat(log).st_size
                if size and os.pread(log, 1, size - 1) != b"\n":
                    body = b"\n" + body
                if os.write(log, body) != len(body):
                    raise LibraryError(f"{self.path} cannot be written", hint="free some disk space")
                os.fsync(log)
            finally:
                os.close(log)
        except OSError as error:
            raise self._trouble(error) from error

    def _trouble(self, error: OSError) -> LibraryError:
        return LibraryError(
            f"{self.path}, the journal of folded files: {why(error)}",
            hint="nothing was changed; make the journal readable and writable first",
        )


def look_before(path: Path, digest: str, look: os.stat_result) -> FileBefore:
    """Return how a file is now, with its extended attributes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        xattrs = {}  # it cannot be folded
    else:
        xattrs = kept_xattrs(descriptor)
        os.close(descriptor)
    return FileBefore(
        digest,
        look.st_size,
        look.st_mode & 0o7777,
        look.st_gid,
        look.st_atime_ns,
        look.st_mtime_ns,
        look.st_ino,
        xattrs,
    )


def kept_xattrs(descriptor: int) -> dict[str, str]:
    """Return the extended attributes that a file keeps, as hex: its user's, and its access control list."""
    found = {}
    with suppress(OSError):  # the filesystem has none
        for name in os.listxattr(descriptor):
            if name.startswith("user.") or name == _ACL:
                found[name] = os.getxattr(descriptor, name).hex()
    return found


def look_after(path: Path, how: str) -> LinkAfter:
    """Return what a file has become. Raise OSError."""
    look = path.lstat()
    return LinkAfter(how, look.st_dev, look.st_ino, look.st_size, look.st_mtime_ns)


def state_now(entry: JournalEntry, blob: Path, root: Path) -> str:
    """Return what the path of an entry is now; the library at `root` has its bytes at `blob`. Raise OSError."""
    try:
        look = entry.path.lstat()
    except FileNotFoundError:
        return OTHER if is_deleted(str(entry.path), entry.apart, root) else AWAY
    except NotADirectoryError:
        return OTHER
    if stat.S_ISLNK(look.st_mode):
        return LINK if os.path.realpath(entry.path) == os.path.realpath(blob) else OTHER
    if not stat.S_ISREG(look.st_mode) or look.st_size != entry.before.size:
        return OTHER
    with suppress(OSError):
        if os.path.samestat(look, blob.stat()):
            return LINK
    # No name of the blob: a reflink, a hard link whose blob is gone, or a file that a killed process never linked.
    then = entry.after or entry.before
    return ITSELF if (look.st_ino, look.st_mtime_ns) == (then.inode, then.mtime_ns) else OTHER
