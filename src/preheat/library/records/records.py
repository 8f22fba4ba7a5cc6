"""Records: the files of each commit, and the last known commit of each branch and tag."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from preheat.core.digest import Digest
from preheat.core.errors import LibraryError, PreheatError
from preheat.core.ref import ARCHIVES, DATASET, FOLDER, HUGGING_FACE, MADE, MODEL, MODELSCOPE, SPACE, URL, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.disk.temporary_file import write_whole
from preheat.library.decoded_files import Decoded
from preheat.library.ownership import require_own_folders
from preheat.library.small_files import read_dated

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}")
_HUBS, _KINDS = (HUGGING_FACE, MODELSCOPE, URL, FOLDER, MADE, *ARCHIVES), (MODEL, DATASET, SPACE)
MIRROR = "mirror"  # `by` of a version that a mirror downloaded for clients; empty if pulled or adopted by hand
_LONGEST_NAME = 200  # bytes of a revision in a file name, which leaves room for the suffix of the temporary file


class _RecordFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    size: int
    digest: str


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    hub: str
    kind: str
    repo: str
    commit: str
    files: list[_RecordFile]
    by: str = ""
    unlisted: list[str] | None = None


class Needed(msgspec.Struct, frozen=True, gc=False):
    """A blob that a record needs: its digest as `algorithm:hex`, and its size in bytes."""

    digest: str
    size: int


class _SummaryForm(msgspec.Struct, frozen=True):
    hub: str
    kind: str
    repo: str
    commit: str
    files: list[Needed]
    by: str = ""
    unlisted: list[str] | None = None


class RecordSummary(msgspec.Struct, frozen=True):
    """The parts of a record that lists need: the digests and sizes of a commit's files, without their paths.

    `ref` is pinned to the commit; `revisions` are the branches and tags that last pointed to it. `by` is `MIRROR` for a
    version that a mirror downloaded for its clients, and empty for one that was pulled or adopted by hand. `unlisted`:
    see Snapshot.
    """

    ref: Ref
    revisions: tuple[str, ...]
    files: list[Needed]
    by: str = ""
    unlisted: tuple[str, ...] | None = None


class Records:
    """Records as files: `HUB/SLUG/COMMIT.json` per commit, and the text file `HUB/SLUG/refs/NAME` per branch or tag."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._decoded: Decoded[_Known] = Decoded(self._read, lambda known: 1 + len(known.snapshot.files))
        self._pointing: Decoded[tuple[str, str]] = Decoded(_ref_file, lambda _file: 1, settled_s=0.1)

    def write(self, snapshot: Snapshot, by: str = "") -> None:
        """Write the snapshot's list of files and `by` (see `MIRROR`), and the commit that its ref points to."""
        ref = snapshot.ref
        files = [_RecordFile(file.path, file.size, str(file.digest)) for file in snapshot.files]
        unlisted = None if snapshot.unlisted is None else list(snapshot.unlisted)
        record = _Record(ref.hub, ref.kind, ref.repo, snapshot.commit, files, by, unlisted)
        folder = self._folder(ref)
        body = msgspec.json.format(msgspec.json.encode(record), indent=1)
        path = folder / f"{snapshot.commit}.json"
        require_own_folders(folder.parent, folder, folder / "refs")
        inode = write_whole(path, body + b"\n")
        self._decoded.wrote(path, inode, _Known(snapshot.named(ref.at(snapshot.commit)), by))
        if not ref.pinned:
            name = _name(ref.revision)
            text = f"{snapshot.commit}\n{ref.revision}\n" if name.startswith("~") else f"{snapshot.commit}\n"
            write_whole(folder / "refs" / name, text.encode())

    def find(self, ref: Ref) -> Snapshot | None:
        """Return the snapshot that `ref` last pointed to, or None. It lists all files, downloaded or not."""
        commit = ref.revision if ref.pinned else self._commit(ref)
        known = self._decoded.read(self._path(ref, commit)) if commit else None
        # Two folders may have the same slug; so may two repositories, on a case-insensitive filesystem.
        return known.snapshot.named(ref) if known is not None and _same(known.snapshot.ref, ref) else None

    def added_by(self, ref: Ref) -> str | None:
        """Return `by` of the commit that a ref is pinned to (see RecordSummary), or None if it has no record."""
        known = self._decoded.read(self._path(ref, ref.revision))
        return known.by if known is not None and _same(known.snapshot.ref, ref) else None

    def all(self) -> Iterator[Snapshot]:
        """Iterate over the snapshots of all records, each ref pinned to its commit, in no order."""
        for path in self._root.glob("*/*/[!.]*.json"):
            known = self._read(path)
            if known is not None:
                yield known[0].snapshot

    def listed(self) -> Iterator[RecordSummary]:
        """Iterate over summaries of all records, in no order; this is faster than `all`, as no paths are decoded."""
        folders = [entry.path for hub in _listing(self._root) for entry in _listing(hub.path)]
        for folder in folders:
            known: dict[str, list[str]] | None = None
            for entry in _listing(folder):
                if entry.name.startswith(".") or not entry.name.endswith(".json"):
                    continue
                path = Path(entry.path)
                decoded = _decoded(path, _SummaryForm)
                if decoded is None:
                    continue
                record = decoded[0]
                ref = self._ref(record, path)
                if not all(_DIGEST.fullmatch(file.digest) and file.size >= 0 for file in record.files):
                    raise _not_a_record(path, "it lists a file with an invalid digest or size")
                if known is None:
                    known = {}
                    for revision, commit in self.revisions(ref).items():
                        known.setdefault(commit, []).append(revision)
                names = tuple(sorted(known.get(record.commit, ())))
                yield RecordSummary(ref, names, record.files, record.by, _unlisted(record))

    def used(self, ref: Ref) -> None:
        """Set the last use of the commit that a ref is pinned to; do nothing if the record is not writable."""
        with contextlib.suppress(OSError):
            self._decoded.touch(self._path(ref, ref.revision))

    def used_at(self, ref: Ref) -> float:
        """Return when the commit that a ref is pinned to was last used or written, in epoch seconds; 0 if no record."""
        # The record's mtime: it needs no extra file, survives a restart, and does not change when blobs are read.
        try:
            return (self._folder(ref) / f"{ref.revision}.json").stat().st_mtime
        except OSError:
            return 0.0

    def remove(self, snapshot: Snapshot) -> None:
        """Delete the record of a commit, after the branches and tags that point to it."""
        folder = self._folder(snapshot.ref)
        for revision, commit in self.revisions(snapshot.ref).items():
            if commit == snapshot.commit:
                (folder / "refs" / _name(revision)).unlink(missing_ok=True)
        self.drop(snapshot)

    def drop(self, snapshot: Snapshot) -> None:
        """Delete the record of a commit that no branch or tag points to."""
        folder = self._folder(snapshot.ref)
        (folder / f"{snapshot.commit}.json").unlink(missing_ok=True)
        for empty in (folder / "refs", folder):
            try:
                empty.rmdir()
            except OSError:
                break  # not empty

    def revisions(self, ref: Ref) -> dict[str, str]:
        """Return the commit of each known branch and tag of the repository."""
        found = {}
        for entry in _listing(self._folder(ref) / "refs"):
            if entry.name.startswith("."):
                continue
            decoded = _ref_file(Path(entry.path))
            commit, revision = decoded[0] if decoded is not None else ("", "")
            revision = revision if entry.name.startswith("~") else unquote(entry.name)
            if commit and revision:
                found[revision] = commit
        return found

    def _folder(self, ref: Ref) -> Path:
        return self._root / ref.hub / ref.slug

    def _path(self, ref: Ref, commit: str) -> str:
        # A string, because a mirror needs it for each request, and building a Path takes several times as long.
        return f"{self._root}/{ref.hub}/{ref.slug}/{commit}.json"

    def _commit(self, ref: Ref) -> str:
        told = self._pointing.read(f"{self._root}/{ref.hub}/{ref.slug}/refs/{_name(ref.revision)}")
        return told[0] if told is not None else ""

    def _read(self, path: Path) -> "tuple[_Known, os.stat_result] | None":
        decoded = _decoded(path, _Record)
        if decoded is None:
            return None
        record, status = decoded
        ref = self._ref(record, path)
        try:
            files = tuple(File(one.path, one.size, Digest.parse(one.digest)) for one in record.files)
            return _Known(Snapshot(ref, record.commit, files, _unlisted(record)), record.by), status
        except (PreheatError, ValueError) as error:  # ValueError: an invalid path
            text = error.message if isinstance(error, PreheatError) else str(error)
            raise _not_a_record(path, text) from error

    def _ref(self, record: "_Record | _SummaryForm", path: Path) -> Ref:
        """Return the record's ref, pinned to its commit. Raise LibraryError if the record does not belong at `path`."""
        known = record.hub in _HUBS and record.kind in _KINDS and record.repo and _COMMIT.fullmatch(record.commit)
        if known:
            ref = Ref(record.hub, record.kind, record.repo, record.commit)
            with contextlib.suppress(ValueError):
                if path == self._folder(ref) / f"{record.commit}.json":
                    return ref
        raise _not_a_record(path, "its repository or commit does not match its path")


class _Known(msgspec.Struct, frozen=True):
    """A decoded record: its snapshot, with the ref pinned to the commit, and `by`."""

    snapshot: Snapshot
    by: str


_Form = TypeVar("_Form", _Record, _SummaryForm)


def _unlisted(record: "_Record | _SummaryForm") -> tuple[str, ...] | None:
    return None if record.unlisted is None else tuple(record.unlisted)


def _same(one: Ref, other: Ref) -> bool:
    return (one.hub, one.kind, one.repo) == (other.hub, other.kind, other.repo)


def _listing(folder: str | Path) -> list[os.DirEntry[str]]:
    """List a folder; return an empty list if it is missing or not a folder."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _name(revision: str) -> str:
    """Return the file name of a revision: percent-encoded, or `~` and its sha256 if that is too long."""
    name = quote(revision, safe="", errors="surrogatepass")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) <= _LONGEST_NAME:
        return name
    import hashlib  # hardly ever needed, and the app waits for it

    return "~" + hashlib.sha256(revision.encode("utf-8", "surrogatepass")).hexdigest()


def _ref_file(path: Path) -> tuple[tuple[str, str], os.stat_result] | None:
    """Return commit and revision of a ref file, both "" if invalid, and its stat result; None if it is missing."""
    try:
        body, status = read_dated(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(error, path) from error
    commit, _, revision = body.decode("utf-8", "replace").partition("\n")
    commit = commit.strip()
    return ((commit, revision.removesuffix("\n")) if _COMMIT.fullmatch(commit) else ("", "")), status


def _decoded(path: Path, form: type[_Form]) -> tuple[_Form, os.stat_result] | None:
    """Return the content of a record, and the stat result of its file; None if it is missing."""
    try:
        body, status = read_dated(path)
        return msgspec.json.decode(body, type=form), status
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(error, path) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _not_a_record(path, str(error)) from error


def _not_a_record(path: Path, why: str) -> LibraryError:
    return LibraryError(f"{path} is not a record: {why}", hint="move it away and pull again")


def _unreadable(error: OSError, path: Path) -> LibraryError:
    why = (error.strerror or os.strerror(error.errno or 0)).lower()
    return LibraryError(
        f"{path} cannot be read: {why}", hint="check its owner and mode, or move it away and pull again"
    )
