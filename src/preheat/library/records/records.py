"""Records: the files of each commit, and the commit of each branch when last seen."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from preheat.core.digest import Digest
from preheat.core.errors import LibraryError, PreheatError
from preheat.core.ref import DATASET, FOLDER, HUGGING_FACE, MODEL, MODELSCOPE, SPACE, URL, Ref
from preheat.core.snapshot import File, Snapshot
from preheat.disk.temporary_file import write_whole
from preheat.library.decoded_files import Decoded
from preheat.library.small_files import read_small

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}")
_HUBS, _KINDS = (HUGGING_FACE, MODELSCOPE, URL, FOLDER), (MODEL, DATASET, SPACE)
MIRROR = "mirror"  # fetched a version for its clients; a record without that was pulled or adopted by hand
_LONGEST_NAME = 200  # bytes of a revision as a file's name, so that the file aside has room for more


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


class Needed(msgspec.Struct, frozen=True, gc=False):
    """A blob that a record needs: its digest as `algorithm:hex`, and its size in bytes."""

    digest: str
    size: int


class _Lean(msgspec.Struct, frozen=True):
    hub: str
    kind: str
    repo: str
    commit: str
    files: list[Needed]
    by: str = ""


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """A record as lists need it: which blobs a commit has, as `algorithm:hex` and bytes, without their paths.

    `ref` is pinned to the commit; `revisions` are the branches and tags that were last seen at it. `by` is `MIRROR` for
    what a mirror fetched for its clients, and empty for what was pulled or adopted by hand.
    """

    ref: Ref
    revisions: tuple[str, ...]
    files: list[Needed]
    by: str = ""


class Records:
    """One JSON file a commit, one small text file a branch or tag: `HUB/SLUG/COMMIT.json`, `HUB/SLUG/refs/NAME`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._decoded: Decoded[_Known] = Decoded(self._read, lambda known: 1 + len(known.snapshot.files))

    def write(self, snapshot: Snapshot, by: str = "") -> None:
        """Keep the snapshot's list of files, where its ref pointed, and `by` whom the version came."""
        ref = snapshot.ref
        files = [_RecordFile(file.path, file.size, str(file.digest)) for file in snapshot.files]
        record = _Record(ref.hub, ref.kind, ref.repo, snapshot.commit, files, by)
        folder = self._folder(ref)
        body = msgspec.json.format(msgspec.json.encode(record), indent=1)
        path = folder / f"{snapshot.commit}.json"
        inode = write_whole(path, body + b"\n")
        self._decoded.wrote(path, inode, _Known(snapshot.named(ref.at(snapshot.commit)), by))
        if not ref.pinned:
            name = _name(ref.revision)
            said = f"{snapshot.commit}\n{ref.revision}\n" if name.startswith("~") else f"{snapshot.commit}\n"
            write_whole(folder / "refs" / name, said.encode())

    def find(self, ref: Ref) -> Snapshot | None:
        """Find the snapshot that `ref` meant when it was last written; all its files, here or not."""
        commit = ref.revision if ref.pinned else self._commit(ref)
        known = self._decoded.read(self._folder(ref) / f"{commit}.json") if commit else None
        # Two folders' names may be one in a slug, and two repositories' where A is a.
        return known.snapshot.named(ref) if known is not None and _same(known.snapshot.ref, ref) else None

    def brought_by(self, ref: Ref) -> str | None:
        """Say by whom the commit that a ref is pinned to came; None if it is not here. See RecordSummary."""
        known = self._decoded.read(self._folder(ref) / f"{ref.revision}.json")
        return known.by if known is not None and _same(known.snapshot.ref, ref) else None

    def all(self) -> Iterator[Snapshot]:
        """Read every record, each with its ref pinned to its commit; in no order."""
        for path in self._root.glob("*/*/[!.]*.json"):
            known = self._read(path)
            if known is not None:
                yield known.snapshot

    def listed(self) -> Iterator[RecordSummary]:
        """Read every record, but only what lists need; in no order."""
        folders = [entry.path for hub in _listing(self._root) for entry in _listing(hub.path)]
        for folder in folders:
            known: dict[str, list[str]] | None = None
            for entry in _listing(folder):
                if entry.name.startswith(".") or not entry.name.endswith(".json"):
                    continue
                path = Path(entry.path)
                record = _decoded(path, _Lean)
                if record is None:
                    continue
                ref = self._ref(record, path)
                if not all(_DIGEST.fullmatch(file.digest) and file.size >= 0 for file in record.files):
                    raise _not_a_record(path, "it lists a file with an invalid digest or size")
                if known is None:
                    known = {}
                    for revision, commit in self.revisions(ref).items():
                        known.setdefault(commit, []).append(revision)
                yield RecordSummary(ref, tuple(sorted(known.get(record.commit, ()))), record.files, record.by)

    def used(self, ref: Ref) -> None:
        """Note that the commit a ref is pinned to is used now; where that cannot be written, it is not noted."""
        with contextlib.suppress(OSError):
            self._decoded.touch(self._folder(ref) / f"{ref.revision}.json")

    def used_at(self, ref: Ref) -> float:
        """Say when the commit a ref is pinned to was last used, or written; 0 if it is not here."""
        # The record's own time: it costs no file more, survives a restart, and is not touched by reading the bytes.
        try:
            return (self._folder(ref) / f"{ref.revision}.json").stat().st_mtime
        except OSError:
            return 0.0

    def remove(self, snapshot: Snapshot) -> None:
        """Forget a commit, and the branches and tags that were last seen at it; names first, then what they mean."""
        folder = self._folder(snapshot.ref)
        for revision, commit in self.revisions(snapshot.ref).items():
            if commit == snapshot.commit:
                (folder / "refs" / _name(revision)).unlink(missing_ok=True)
        self.drop(snapshot)

    def drop(self, snapshot: Snapshot) -> None:
        """Forget a commit that no branch or tag was last seen at."""
        folder = self._folder(snapshot.ref)
        (folder / f"{snapshot.commit}.json").unlink(missing_ok=True)
        for empty in (folder / "refs", folder):
            try:
                empty.rmdir()
            except OSError:
                break  # others are left

    def revisions(self, ref: Ref) -> dict[str, str]:
        """Say which branches and tags of the repository are known, and at which commits."""
        found = {}
        for entry in _listing(self._folder(ref) / "refs"):
            if entry.name.startswith("."):
                continue
            commit, revision = _ref_file(Path(entry.path))
            revision = revision if entry.name.startswith("~") else unquote(entry.name)
            if commit and revision:
                found[revision] = commit
        return found

    def _folder(self, ref: Ref) -> Path:
        return self._root / ref.hub / ref.slug

    def _commit(self, ref: Ref) -> str:
        return _ref_file(self._folder(ref) / "refs" / _name(ref.revision))[0]

    def _read(self, path: Path) -> "_Known | None":
        record = _decoded(path, _Record)
        if record is None:
            return None
        ref = self._ref(record, path)
        try:
            files = tuple(File(file.path, file.size, Digest.parse(file.digest)) for file in record.files)
            return _Known(Snapshot(ref, record.commit, files), record.by)
        except (PreheatError, ValueError) as error:  # ValueError: a path that no file system can have
            said = error.message if isinstance(error, PreheatError) else str(error)
            raise _not_a_record(path, said) from error

    def _ref(self, record: "_Record | _Lean", path: Path) -> Ref:
        """Return the record's ref, pinned to its commit. Raise LibraryError if the record is not of this place."""
        known = record.hub in _HUBS and record.kind in _KINDS and record.repo and _COMMIT.fullmatch(record.commit)
        if known:
            ref = Ref(record.hub, record.kind, record.repo, record.commit)
            with contextlib.suppress(ValueError):
                if path == self._folder(ref) / f"{record.commit}.json":
                    return ref
        raise _not_a_record(path, "it names another repository or commit than its path")


@dataclass(frozen=True, slots=True)
class _Known:
    """A record's snapshot, its ref pinned to its commit, and by whom it came."""

    snapshot: Snapshot
    by: str


_Form = TypeVar("_Form", _Record, _Lean)


def _same(one: Ref, other: Ref) -> bool:
    return (one.hub, one.kind, one.repo) == (other.hub, other.kind, other.repo)


def _listing(folder: str | Path) -> list[os.DirEntry[str]]:
    """List a folder; nothing, if it is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _name(revision: str) -> str:
    """Return a revision as a file's name: percent-encoded, or, if that is too long, by its digest."""
    name = quote(revision, safe="", errors="surrogatepass")
    if name.startswith("."):
        name = f"%2E{name[1:]}"
    if len(name) <= _LONGEST_NAME:
        return name
    return "~" + hashlib.sha256(revision.encode("utf-8", "surrogatepass")).hexdigest()


def _ref_file(path: Path) -> tuple[str, str]:
    """Return the commit that a ref file names, and the revision if it says that too; empty if it names none."""
    try:
        commit, _, revision = read_small(path).decode("utf-8", "replace").partition("\n")
    except (FileNotFoundError, NotADirectoryError):
        return "", ""
    except OSError as error:
        raise _unreadable(error, path) from error
    commit = commit.strip()
    return (commit, revision.removesuffix("\n")) if _COMMIT.fullmatch(commit) else ("", "")


def _decoded(path: Path, form: type[_Form]) -> _Form | None:
    try:
        return msgspec.json.decode(read_small(path), type=form)
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
