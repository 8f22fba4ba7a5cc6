"""Records: which files a commit has, and which commit a branch was last seen at."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from preheat.digest import Digest
from preheat.errors import LibraryError
from preheat.ref import Ref
from preheat.snapshot import File, Snapshot

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    size: int
    digest: str


class _Record(msgspec.Struct, frozen=True):
    hub: str
    kind: str
    repo: str
    commit: str
    files: list[_File]


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


@dataclass(frozen=True, slots=True)
class Listed:
    """A record as lists need it: which blobs a commit has, as `algorithm:hex` and bytes, without their paths.

    `ref` is pinned to the commit; `revisions` are the branches and tags that were last seen at it.
    """

    ref: Ref
    revisions: tuple[str, ...]
    files: list[Needed]


class Records:
    """One JSON file a commit, one small text file a branch or tag: `HUB/SLUG/COMMIT.json`, `HUB/SLUG/refs/NAME`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, snapshot: Snapshot) -> None:
        """Keep the snapshot's list of files, and where its ref pointed."""
        ref = snapshot.ref
        files = [_File(file.path, file.size, str(file.digest)) for file in snapshot.files]
        record = _Record(ref.hub, ref.kind, ref.repo, snapshot.commit, files)
        folder = self._folder(ref)
        body = msgspec.json.format(msgspec.json.encode(record), indent=1)
        write_whole(folder / f"{snapshot.commit}.json", body + b"\n")
        if not ref.pinned:
            write_whole(folder / "refs" / quote(ref.revision, safe=""), f"{snapshot.commit}\n".encode())

    def find(self, ref: Ref) -> Snapshot | None:
        """Find the snapshot that `ref` meant when it was last written; all its files, here or not."""
        commit = ref.revision if ref.pinned else self._commit(ref)
        return self._read(self._folder(ref) / f"{commit}.json", ref) if commit else None

    def all(self) -> Iterator[Snapshot]:
        """Read every record, each with its ref pinned to its commit; in no order."""
        for path in self._root.glob("*/*/[!.]*.json"):
            snapshot = self._read(path, None)
            if snapshot is not None:
                yield snapshot

    def listed(self) -> Iterator[Listed]:
        """Read every record, but only what lists need; in no order."""
        folders = [entry.path for hub in _listing(self._root) for entry in _listing(hub.path)]
        for folder in folders:
            known: dict[str, list[str]] | None = None
            for entry in _listing(folder):
                if entry.name.startswith(".") or not entry.name.endswith(".json"):
                    continue
                record = _decoded(Path(entry.path), _Lean)
                if record is None:
                    continue
                ref = Ref(record.hub, record.kind, record.repo, record.commit)
                if known is None:
                    known = {}
                    for revision, commit in self.revisions(ref).items():
                        known.setdefault(commit, []).append(revision)
                yield Listed(ref, tuple(sorted(known.get(record.commit, ()))), record.files)

    def used(self, ref: Ref) -> None:
        """Note that the commit a ref is pinned to is used now; where that cannot be written, it is not noted."""
        with contextlib.suppress(OSError):
            os.utime(self._folder(ref) / f"{ref.revision}.json")

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
                (folder / "refs" / quote(revision, safe="")).unlink(missing_ok=True)
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
            revision = unquote(entry.name)
            commit = self._commit(ref.at(revision))
            if commit:
                found[revision] = commit
        return found

    def _folder(self, ref: Ref) -> Path:
        return self._root / ref.hub / ref.slug

    def _commit(self, ref: Ref) -> str | None:
        try:
            text = (self._folder(ref) / "refs" / quote(ref.revision, safe="")).read_text(encoding="ascii").strip()
        except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
            return None
        return text if _COMMIT.fullmatch(text) else None

    def _read(self, path: Path, ref: Ref | None) -> Snapshot | None:
        record = _decoded(path, _Record)
        if record is None:
            return None
        if ref is not None and (record.hub, record.kind, record.repo) != (ref.hub, ref.kind, ref.repo):
            return None  # two folders' names may be one in a slug, and two repositories' where A is a
        ref = ref or Ref(record.hub, record.kind, record.repo, record.commit)
        files = tuple(File(file.path, file.size, Digest.parse(file.digest)) for file in record.files)
        return Snapshot(ref, record.commit, files)


_Form = TypeVar("_Form", _Record, _Lean)


def _listing(folder: str | Path) -> list[os.DirEntry[str]]:
    """List a folder; nothing, if it is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _decoded(path: Path, form: type[_Form]) -> _Form | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise LibraryError(f"{path} is not a record: {error}", hint="move it away and pull again") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is never seen in part: aside, to disk, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.new")
    with open(aside, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
