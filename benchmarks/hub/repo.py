"""Repo: a folder, with the descriptions of a hub."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

_LFS_FROM = 10_000_000
_WEIGHTS = (".safetensors", ".bin", ".pt")


@dataclass(frozen=True, slots=True)
class Entry:
    """A downloadable file, with its names in git and LFS."""

    path: str
    size: int
    sha256: str
    git_sha1: str
    place: Path

    @property
    def is_lfs(self) -> bool:
        """Whether a hub would store it in LFS."""
        return self.size >= _LFS_FROM or self.path.endswith(_WEIGHTS)

    @property
    def etag(self) -> str:
        """The ETag that the hub sends."""
        return self.sha256 if self.is_lfs else self.git_sha1


@dataclass(frozen=True, slots=True)
class Repo:
    """One repository at one commit."""

    name: str
    commit: str
    entries: dict[str, Entry]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(entry.size for entry in self.entries.values())


def read_repo(name: str, folder: Path) -> Repo:
    """Describe a folder, reading every byte once."""
    entries = {}
    for place in sorted(path for path in folder.rglob("*") if path.is_file()):
        entry = _entry(place.relative_to(folder).as_posix(), place)
        entries[entry.path] = entry
    told = "\n".join(f"{entry.path} {entry.sha256}" for entry in entries.values())
    return Repo(name, hashlib.sha1(told.encode()).hexdigest(), entries)


def _entry(path: str, place: Path) -> Entry:
    size = place.stat().st_size
    sha256, git = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode())
    with open(place, "rb", buffering=0) as file:
        while data := file.read(1 << 20):
            sha256.update(data)
            git.update(data)
    return Entry(path, size, sha256.hexdigest(), git.hexdigest(), place)
