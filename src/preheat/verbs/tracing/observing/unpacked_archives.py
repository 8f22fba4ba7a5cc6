"""Unpacked archives: find where the members of a downloaded archive lie, whatever folder they were unpacked to."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from preheat.core.digest import SHA256
from preheat.core.errors import PreheatError
from preheat.core.ref import TAR, ZIP
from preheat.core.snapshot import File
from preheat.library.archives import members
from preheat.recipes.inference.bookkeeping import is_installers
from preheat.recipes.inference.observation import Loaded, Unpacked, UnpackedFile
from preheat.verbs.tracing.observing.file_hashes import FileHashes
from preheat.verbs.tracing.observing.written_files import WrittenFile

_ZIP = b"PK\x03\x04"
# Checkpoints of torch and numpy are zips too, but are read as they are: the name of the first member tells.
_WEIGHTS = re.compile(
    rb"PK\x03\x04.{26}[^\0]{0,200}?(?:data\.pkl|\.npy|/version|/byteorder|\.format_version)", re.DOTALL
)


def unpacked_archives(
    archives: Iterable[tuple[Loaded, Path]], written: Mapping[str, WrittenFile], hashes: FileHashes
) -> tuple[Unpacked, ...]:
    """Return the archives whose members are among the written files. Damaged and hostile archives are skipped."""
    by_size: dict[int, list[str]] = {}
    for path in written:
        size = hashes.size(path)
        # An installer's cache is not where the app reads them.
        if size is not None and not is_installers(path):
            by_size.setdefault(size, []).append(path)
    found: list[Unpacked] = []
    for loaded, file in archives:
        kind = archive_kind(file)
        try:
            listed = members(file, kind) if kind else ()
        except (PreheatError, OSError):
            continue
        found += _unpacked(loaded, kind, listed, by_size, hashes)
    return tuple(found)


def archive_kind(path: Path) -> str:
    """Return `zip` or `tar` for a file that may be one; a single compressed file is told from a tar by reading it."""
    try:
        with open(path, "rb") as file:
            front = file.read(512)
    except OSError:
        return ""
    if front.startswith(_ZIP):
        return "" if _WEIGHTS.match(front) else ZIP
    compressed = front.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"))
    return TAR if compressed or front[257:262] == b"ustar" else ""


def _unpacked(
    loaded: Loaded, kind: str, listed: tuple[File, ...], by_size: Mapping[int, list[str]], hashes: FileHashes
) -> Iterable[Unpacked]:
    """Match members with files by digest; then find the folder and the prefix that most of them agree on."""
    alike: dict[str, list[str]] = {}
    votes: Counter[tuple[str, str]] = Counter()
    for file in listed:
        if not file.size:
            continue
        same = [path for path in by_size.get(file.size, ()) if hashes.digest(path, SHA256) == file.digest]
        if same:
            alike[file.path] = same
            best: dict[tuple[str, str], int] = {}
            for path in same:
                base, prefix, depth = _common(file.path, path)
                if depth or len(same) == 1:
                    best[base, prefix] = depth
            votes.update(best.keys())
    placed_names: set[str] = set()
    for (base, prefix), _ in votes.most_common():
        fit = {file.path: found for file in listed if (found := _at(file, base, prefix, alike, by_size))}
        new = {name: path for name, path in fit.items() if name not in placed_names}
        if not any(name in alike for name in new):
            continue
        placed_names.update(new)
        sizes = {file.path: file for file in listed}
        placed = tuple(UnpackedFile(name, path, sizes[name].size, sizes[name].digest) for name, path in new.items())
        others = tuple(file.path for file in listed if file.path not in new)
        yield Unpacked(loaded, kind, base, prefix, placed, others)


def _common(name: str, path: str) -> tuple[str, str, int]:
    """Return the folder of `path` and of `name` before the last parts that both have, and how many these are."""
    parts, own = path.split("/"), name.split("/")
    depth = 0
    while depth < min(len(parts), len(own)) and parts[-1 - depth] == own[-1 - depth]:
        depth += 1
    if not depth:
        return "/".join(parts[:-1]), "/".join(own[:-1]), 0
    return "/".join(parts[: len(parts) - depth]), "/".join(own[: len(own) - depth]), depth


def _at(
    file: File, base: str, prefix: str, alike: Mapping[str, list[str]], by_size: Mapping[int, list[str]]
) -> str | None:
    """Return the path that a member has if `prefix` was unpacked to `base`; None if no such file has its bytes."""
    if prefix and not file.path.startswith(f"{prefix}/"):
        return None
    own = file.path[len(prefix) + 1 :] if prefix else file.path
    path = f"{base}/{own}"
    if path in (by_size.get(0, ()) if not file.size else alike.get(file.path, ())):
        return path
    # A file that was renamed on its own.
    renamed = [one for one in alike.get(file.path, ()) if os.path.dirname(one) == base]  # noqa: PTH120 - text only
    return renamed[0] if len(renamed) == 1 and own.count("/") == 0 else None
