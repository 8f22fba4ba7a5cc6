"""Names: rename a snapshot's files for a view, and find those that a case-insensitive filesystem makes one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from preheat.core.errors import IntegrityError, LibraryError, UsageError
from preheat.core.snapshot import File, Snapshot


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
        return replace(file, path=to[key])
    folder = to[key].rstrip("/")
    return replace(file, path=f"{folder}/{file.path[len(key) :]}" if folder else file.path[len(key) :])


def _fits(key: str, path: str) -> bool:
    return path.startswith(key) if key.endswith("/") else path == key


def same_but_for_case(files: Iterable[tuple[Path, File]]) -> Iterator[tuple[Path, Path]]:
    """Yield pairs of paths that differ only by case and have different bytes: one file where the case is ignored."""
    first: dict[str, tuple[Path, File]] = {}
    for path, file in files:
        other, theirs = first.setdefault(str(path).casefold(), (path, file))
        if other != path and theirs.digest != file.digest:
            yield other, path


def one_name(one: Path, other: Path) -> LibraryError:
    """Return the error for two files that a case-insensitive filesystem would make one."""
    level = next(level for level, parts in enumerate(zip(one.parts, other.parts, strict=True)) if parts[0] != parts[1])
    folder = Path(*one.parts[:level])
    return LibraryError(
        f"{one.relative_to(folder)} and {other.relative_to(folder)} have the same name on the case-insensitive"
        f" filesystem of {folder}",
        hint="choose one with --files, or another folder",
    )
