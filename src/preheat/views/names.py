"""Names: rename a snapshot's files for a view."""

from collections.abc import Iterable, Mapping

from preheat.core.errors import IntegrityError, LibraryError, UsageError
from preheat.core.snapshot import File, Snapshot
from preheat.core.values.replace import replace


def by_last_name(snapshot: Snapshot, files: Iterable[File]) -> dict[str, File]:
    """Map the last segment of each path to its file; raise LibraryError if two different files have the same name."""
    named: dict[str, File] = {}
    for file in files:
        name = file.path.rpartition("/")[2]
        other = named.setdefault(name, file)
        if other.digest != file.digest:
            raise LibraryError(
                f"{snapshot.ref} has both {other.path} and {file.path}, and only one can be {name}",
                hint="choose with --files, or files = […] in the recipe",
            )
    return named


def renamed(snapshot: Snapshot, to: Mapping[str, str]) -> Snapshot:
    """Return the snapshot with its files renamed by `to`.

    A key is a file's path, or a folder's with `/` at its end; the longest matching key applies. The value `""` moves
    a folder's files to the top. Raise UsageError if a key matches no file, or a new path is invalid or not unique.
    """
    for key in to:
        if not any(_fits(key, file.path) for file in snapshot.files):
            raise UsageError(
                f"to: {snapshot.ref} has no {key!r}", hint='to = { "file" = "name", "folder/" = "folder/" }'
            )
    try:
        return replace(snapshot, files=tuple(_renamed(file, to) for file in snapshot.files))
    except IntegrityError as error:
        raise UsageError(f"to: {error.message}", hint="new paths must be unique and inside the view") from error


def _renamed(file: File, to: Mapping[str, str]) -> File:
    key = max((key for key in to if _fits(key, file.path)), key=len, default=None)
    if key is None:
        return file
    if not key.endswith("/"):
        return File(to[key], file.size, file.digest)
    folder, name = to[key].rstrip("/"), file.path[len(key) :]
    return File(f"{folder}/{name}" if folder else name, file.size, file.digest)


def _fits(key: str, path: str) -> bool:
    return path.startswith(key) if key.endswith("/") else path == key
