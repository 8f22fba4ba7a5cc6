"""Letter case: find files that a case-insensitive filesystem would make one."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from preheat.core.errors import LibraryError
from preheat.core.snapshot import File


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
