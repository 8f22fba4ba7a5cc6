"""Snapshot: one commit of a repository, as a tuple of files."""

import functools
import re
from collections.abc import Iterable, Sequence
from fnmatch import translate
from itertools import pairwise

import msgspec
from msgspec.structs import force_setattr

from preheat.core.digest import Digest
from preheat.core.errors import IntegrityError, NotFound
from preheat.core.ref import Ref
from preheat.core.units import say_some
from preheat.core.values.replace import replace

# A pattern without these characters is a file name; traced recipes list thousands of names.
GLOB = frozenset("*?[")
# A control character, a backslash, or a name that is empty, "." or "..".
_INVALID = re.compile(r"[\x00-\x1f\\]|(?:\A|/)\.{0,2}(?:/|\Z)")
NAME_MAX, PATH_MAX = 255, 4096  # bytes, of limits.h


class File(msgspec.Struct, frozen=True, gc=False):
    """A file in a repository: its path, size in bytes and expected digest.

    The path is relative, uses `/`, and cannot leave the folder it is placed in. Any other path raises IntegrityError,
    because only a broken or hostile hub lists one.
    """

    path: str
    size: int
    digest: Digest

    def __post_init__(self) -> None:
        if _INVALID.search(self.path) or not _has_fit_names(self.path) or not 0 <= self.size < 1 << 63:
            raise IntegrityError(
                f"{self.path!r} with {self.size} bytes cannot be a file: invalid path or size",
                hint="do not trust this hub; try another --endpoint",
            )


def _has_fit_names(path: str) -> bool:
    """Return whether a path has no name that is too long, or that has half of a surrogate pair."""
    # Most paths need not be encoded: a repository has thousands.
    if len(path) <= NAME_MAX and path.isascii():
        return True
    try:
        return len(path.encode()) < PATH_MAX and all(len(name.encode()) <= NAME_MAX for name in path.split("/"))
    except UnicodeEncodeError:
        return False


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """The files of one commit: `ref` is the requested name, `commit` the commit that it resolved to.

    `unlisted` is None if `files` are all files that were asked for. Otherwise the commit may have more: `unlisted`
    names those that are known to be missing, by path, by a folder's path with `/` at its end, or by `algorithm:hex`.
    """

    ref: Ref
    commit: str
    files: tuple[File, ...]
    unlisted: tuple[str, ...] | None = None

    @functools.cached_property
    def _by_path(self) -> dict[str, File]:
        return {file.path: file for file in self.files}

    def __post_init__(self) -> None:
        paths = self._by_path
        if len(paths) != len(self.files):
            raise IntegrityError(f"the hub lists a file of {self.ref} twice")
        # In this order, what is below a path follows it directly: paths may have thousands of folders.
        ordered = sorted(path.replace("/", "\0") for path in paths)
        for path, following in pairwise(ordered):
            if following.startswith(f"{path}\0"):
                folder = path.replace("\0", "/")
                raise IntegrityError(f"the hub lists {folder!r} as both a file and a folder of {self.ref}")

    def may_have(self, path: str) -> bool:
        """Return whether `path` is, or may be, one of the unlisted files that are known to be missing."""
        return any(
            path == name or _is_digest(name) or (name.endswith("/") and path.startswith(name))
            for name in self.unlisted or ()
        )

    @property
    def size(self) -> int:
        """Total size of all files in bytes."""
        return sum(file.size for file in self.files)

    def named(self, ref: Ref) -> "Snapshot":
        """Return the same commit under another ref; O(1), as the files are shared."""
        if ref == self.ref:
            return self
        named: Snapshot = self.__copy__()  # type: ignore[attr-defined]  # msgspec's stubs lack it
        named.__dict__.update(self.__dict__)
        force_setattr(named, "ref", ref)
        return named

    def only(self, patterns: Sequence[str]) -> "Snapshot":
        """Return the files that match one of `patterns` (shell globs; `*` also matches `/`); all without patterns.

        A pattern that begins with `!` excludes the files that match the rest of it; if all patterns do, all other files
        are returned. Raise NotFound for a pattern without a match, and if every file is excluded. If the commit may
        have more files, a pattern without a match becomes one of the `unlisted` names instead.
        """
        if not patterns:
            return self
        excluding = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        including = [pattern for pattern in patterns if not pattern.startswith("!")]
        kept = self._matching(including, required=self.unlisted is None) if including else self.files
        if excluding:
            excluded = set(self._matching(excluding, required=False))
            kept = tuple(file for file in kept if file not in excluded)
            if not kept and self.files:
                raise NotFound(f"{self.ref} has no file that is not excluded", hint=f"it has {self._names()}")
        return replace(self, files=kept, unlisted=self._unlisted(including, excluding))

    def _unlisted(self, including: Sequence[str], excluding: Sequence[str]) -> tuple[str, ...] | None:
        """Return what may be missing from a selection: None if each of its files is named and listed."""
        if self.unlisted is None or (including and all(pattern in self._by_path for pattern in including)):
            return None
        names = [
            name
            for name in self.unlisted
            if (not including or _is_digest(name) or any(_match(pattern, name) for pattern in including))
            and not any(_match(pattern, name) for pattern in excluding)
        ]
        for pattern in including:
            if not any(_match(pattern, name) for name in (*self._by_path, *names)):
                names.append(pattern)
        return tuple(dict.fromkeys(names))

    def _matching(self, patterns: Sequence[str], *, required: bool) -> tuple[File, ...]:
        """Return the files that match one of `patterns`. If `required`, raise NotFound for one without a match."""
        names = {pattern for pattern in patterns if pattern in self._by_path}
        globs = {pattern: re.compile(translate(pattern)) for pattern in patterns if GLOB.intersection(pattern)}
        for pattern in patterns if required else ():
            if pattern in names or (pattern in globs and any(map(globs[pattern].match, self._by_path))):
                continue
            raise NotFound(f"{self.ref} has no file that matches {pattern!r}", hint=f"it has {self._names()}")
        return tuple(
            file for file in self.files if file.path in names or any(glob.match(file.path) for glob in globs.values())
        )

    def _names(self) -> str:
        return say_some(sorted(file.path for file in self.files), 6)

    def held_to(self, locked: "Snapshot") -> "Snapshot":
        """Return this snapshot, with `locked`'s digests for the files that `locked` lists.

        Raise IntegrityError if this snapshot lacks one of the locked files, or has it with another size or with another
        digest of the same algorithm. Digests of different algorithms cannot be compared: the download is then verified
        against the locked one.
        """
        for file in locked.files:
            listed = self.file(file.path)
            same_kind = listed is not None and listed.digest.algorithm == file.digest.algorithm
            if listed is None or listed.size != file.size or (same_kind and listed.digest != file.digest):
                raise IntegrityError(
                    f"{self.ref}: {file.path} does not match the lock",
                    hint="do not trust this hub; to list what changed: preheat lock --check",
                )
        return replace(self, files=tuple(locked.file(file.path) or file for file in self.files))

    def named_as(self, other: "Snapshot") -> "Snapshot":
        """Return this snapshot, with `other`'s digests for files of the same path and size whose algorithm differs."""
        return replace(self, files=tuple(_named_as(file, other.file(file.path)) for file in self.files))

    def at_paths(self, of: "Snapshot") -> "Snapshot":
        """Return the files whose paths are also in `of`, in its order."""
        found = (self.file(file.path) for file in of.files)
        return replace(self, files=tuple(file for file in found if file is not None), unlisted=of.unlisted)

    def file(self, path: str) -> File | None:
        """Return the file at `path`, or None; O(1)."""
        return self._by_path.get(path)


def listing_commit(files: Iterable[File]) -> str:
    """Return a commit ID for a list of files without one: 40 hexadecimal digits that do not depend on the order.

    They are the SHA-1 over `DIGEST SIZE PATH` and a NUL for each file, sorted by path.
    """
    import hashlib

    naming = hashlib.sha1(usedforsecurity=False)
    for file in sorted(files, key=lambda file: file.path):
        naming.update(f"{file.digest} {file.size} {file.path}\0".encode())
    return naming.hexdigest()


def _match(pattern: str, name: str) -> bool:
    return name == pattern or (bool(GLOB.intersection(pattern)) and re.match(translate(pattern), name) is not None)


def _is_digest(name: str) -> bool:
    return re.fullmatch(r"(sha256|git-sha1):[0-9a-f]+", name) is not None


def _named_as(file: File, other: File | None) -> File:
    if other is None or other.size != file.size or other.digest.algorithm == file.digest.algorithm:
        return file
    return other
