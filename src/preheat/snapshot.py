"""Snapshot: one commit of a repository as a tuple of files."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate

from preheat.digest import Digest
from preheat.errors import IntegrityError, NotFound
from preheat.ref import Ref

# Without one of these, a pattern is the name of one file: traced recipes list thousands of them.
_GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class File:
    """A path in a repository, its size in bytes and the digest its bytes must have.

    The path is relative, uses `/`, and cannot leave the folder it is placed in: anything else raises
    IntegrityError, because only a broken or hostile hub says such a thing.
    """

    path: str
    size: int
    digest: Digest

    def __post_init__(self) -> None:
        segments = self.path.split("/")
        if (
            any(segment in ("", ".", "..") or len(segment.encode()) > 255 for segment in segments)
            or "\\" in self.path
            or any(ord(character) < 32 for character in self.path)
            or not 0 <= self.size < 1 << 63
        ):
            raise IntegrityError(
                f"the hub names a file {self.path!r} of {self.size} bytes, which cannot be a file of a repository",
                hint="do not trust this hub; try another --endpoint",
            )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of one commit. `ref` says what was asked for, `commit` what it meant."""

    ref: Ref
    commit: str
    files: tuple[File, ...]
    _by_path: dict[str, File] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        paths = {file.path: file for file in self.files}
        if len(paths) != len(self.files):
            raise IntegrityError(f"the hub names a file of {self.ref} twice")
        for path in paths:
            parent = path.rpartition("/")[0]
            while parent:
                if parent in paths:
                    raise IntegrityError(f"the hub says {parent!r} is both a file and a folder of {self.ref}")
                parent = parent.rpartition("/")[0]
        object.__setattr__(self, "_by_path", paths)

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)

    def named(self, ref: Ref) -> "Snapshot":
        """Return the same commit under another of its names; O(1), as the files are shared."""
        if ref == self.ref:
            return self
        twin = object.__new__(Snapshot)
        for name, value in (("ref", ref), ("commit", self.commit), ("files", self.files), ("_by_path", self._by_path)):
            object.__setattr__(twin, name, value)
        return twin

    def only(self, patterns: Sequence[str]) -> "Snapshot":
        """Keep the files that match one of `patterns` (shell globs, `*` crosses `/`); no patterns keep all.

        Raise NotFound for a pattern that matches nothing.
        """
        if not patterns:
            return self
        names = {pattern for pattern in patterns if pattern in self._by_path}
        globs = {pattern: re.compile(translate(pattern)) for pattern in patterns if _GLOB.intersection(pattern)}
        for pattern in patterns:
            if pattern in names or (pattern in globs and any(map(globs[pattern].match, self._by_path))):
                continue
            raise NotFound(
                f"{self.ref} has no file that matches {pattern!r}",
                hint=f"it has {_some(file.path for file in self.files)}",
            )
        kept = tuple(
            file for file in self.files if file.path in names or any(glob.match(file.path) for glob in globs.values())
        )
        return replace(self, files=kept)

    def file(self, path: str) -> File | None:
        """Return the file at `path`, or None; O(1)."""
        return self._by_path.get(path)


def _some(names: Iterable[str], most: int = 6) -> str:
    listed = sorted(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
