"""ModelScope answers: encode snapshots as documents of the ModelScope API."""

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from preheat.core.digest import SHA256, sha256
from preheat.core.errors import HubError, HubUnavailable
from preheat.core.ref import Ref
from preheat.core.snapshot import File, listing_commit
from preheat.hubs.ms_documents import BLOB, MOST_ENTRIES, OK, TREE, MsEntry
from preheat.mirror.api.folders import ServedSnapshot

_CHUNK = 1024 * 1024


def write_repository(ref: Ref) -> bytes:
    """Encode the description of a repository.

    Older clients use `Id` in requests for a dataset's files, so it is the repository's name.
    """
    owner, _, name = ref.repo.partition("/")
    return _write({"Id": ref.repo, "Name": name, "Path": owner, "Owner": owner, "Namespace": owner, "Type": 0})


def write_revisions(branches: Iterable[str]) -> bytes:
    """Encode the branches, with creation time 0, which is unknown."""
    return _write({"RevisionMap": {"Branches": [{"Revision": name, "CreatedAt": 0} for name in branches], "Tags": []}})


def write_entries(entries: list[MsEntry]) -> bytes:
    """Encode a listing."""
    return _write({"Files": entries})


def write_refusal(status: int, message: str) -> bytes:
    """Encode the body of an error."""
    return _document(status, None, message)


def list_files(found: ServedSnapshot, under: str = "", *, recursive: bool) -> list[MsEntry]:
    """Return the files and folders in a folder, sorted by path; with `recursive`, those in its subfolders too."""
    prefix = f"{under}/" if under else ""
    entries: dict[str, MsEntry] = {}
    for file in found.snapshot.files:
        if not file.path.startswith(prefix):
            continue
        first, *below = file.path[len(prefix) :].split("/")
        if below and not recursive:
            entries.setdefault(f"{prefix}{first}", _folder(f"{prefix}{first}"))
            continue
        for depth in range(len(below)):
            folder = prefix + "/".join((first, *below[:depth]))
            entries.setdefault(folder, _folder(folder))
        entries[file.path] = _file(found, file)
    return [entries[path] for path in sorted(entries)]


def cut_short(entries: list[MsEntry]) -> list[MsEntry]:
    """Return as many entries as the hub returns at once; its clients know that there may be more."""
    return entries[:MOST_ENTRIES]


def file_revision(found: ServedSnapshot, file: File) -> str:
    """Return the commit that last changed a file: derived from the file alone, so that it is stable."""
    return listing_commit([File(file.path, file.size, sha256(file_sha256(found, file)))])


def file_sha256(found: ServedSnapshot, file: File) -> str:
    """Return a file's SHA-256, which this API needs for each file.

    Hashes the file if only its git digest is known. Raise HubError if the file is missing.
    """
    if file.digest.algorithm == SHA256:
        return file.digest.hex
    place = found.locate(file)
    if place is None:
        raise HubError(f"{file.path} of {found.snapshot.ref} is not on this mirror, although the repository has it")
    return _read_sha256(place, file)


@functools.lru_cache(maxsize=65_536)
def _read_sha256(place: Path | str, file: File) -> str:
    """Return a file's SHA-256, after a check of its known digest."""
    known, wanted = file.digest.hasher(file.size), hashlib.sha256()
    try:
        with open(place, "rb") as source:
            while chunk := source.read(_CHUNK):
                known.update(chunk)
                wanted.update(chunk)
    except OSError as error:
        raise HubUnavailable(f"{file.path} has just been removed from this mirror") from error
    if known.hexdigest() != file.digest.hex:
        raise HubUnavailable(f"{file.path} has just changed on this mirror")
    return wanted.hexdigest()


def _file(found: ServedSnapshot, file: File) -> MsEntry:
    return MsEntry(
        path=file.path,
        name=file.path.rpartition("/")[2],
        type=BLOB,
        size=file.size,
        sha256=file_sha256(found, file),
        revision=file_revision(found, file),
    )


def _folder(path: str) -> MsEntry:
    return MsEntry(path=path, name=path.rpartition("/")[2], type=TREE, size=0, sha256="", revision="")


def _write(data: object) -> bytes:
    return _document(OK, data, "success")


def _document(code: int, data: object, message: str) -> bytes:
    return msgspec.json.encode({"Code": code, "Data": data, "Message": message, "RequestId": "", "Success": code == OK})
