"""Adopt plan: which files of other programs' caches the library lacks, and how it can take them; changes nothing."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.errors import LibraryError, UsageError
from preheat.core.ref import Ref
from preheat.disk.free_space import DiskNeed, disk_need, require_space
from preheat.library.adopt import hf_caches, ms_caches, ollama_stores, whisper_caches
from preheat.library.adopt.caches import CachedVersion, InvalidEntry
from preheat.library.adopt.intake import ELSEWHERE
from preheat.library.adopt.private_files import AS_LINK, IN_LIBRARY, is_opened_by_library, is_opened_by_link
from preheat.library.library import Library
from preheat.views.links import COPY, HARDLINK, REFLINK, likely_way

HERE, LINK, LEFT_OUT = "here", "link", "left out"
_COPY_IT, _SHARE_IT = f"{ELSEWHERE} (--copy)", f"{IN_LIBRARY} (--share)"


@dataclass(frozen=True, slots=True)
class AdoptFile:
    """A file of a cache, and its size in bytes. `how`: HERE if the library has it, LINK, COPY or LEFT_OUT.

    `how` is a forecast from the types of the filesystems: a file without a known digest may turn out to be HERE.
    `why` is the reason for LEFT_OUT.
    """

    source: Path
    size: int
    how: str
    why: str = ""

    @property
    def is_read(self) -> bool:
        """Whether the file will be read, to hash it."""
        return self.how in (LINK, COPY)


@dataclass(frozen=True, slots=True)
class AdoptPlan:
    """The versions in the caches, each of their `files` once, and the `invalid` entries that cannot be adopted.

    `copy`: files that cannot be reflinked are copied, not hard-linked. `share`: files that other users could read only
    then are taken too. `disk`: the space that the copies need.
    """

    found: tuple[CachedVersion, ...]
    invalid: tuple[InvalidEntry, ...]
    files: tuple[AdoptFile, ...]
    disk: DiskNeed
    copy: bool = False
    share: bool = False

    @property
    def to_read(self) -> int:
        """Return the bytes to read: the total of the progress bar."""
        return sum(file.size for file in self.files if file.is_read)

    def require(self) -> None:
        """Raise NoSpace if the library's disk has too little free space for the copies."""
        require_space([self.disk])


def plan_adopt(
    folders: Sequence[Path], library: Library, ref: Ref | None = None, *, copy: bool = False, share: bool = False
) -> AdoptPlan:
    """Read the caches in `folders`; with `ref`, plain folders that contain that model's files.

    Raise UsageError if a folder is not a known kind of cache, LibraryError if it has no files.
    """
    found: list[CachedVersion] = []
    invalid: list[InvalidEntry] = []
    for folder in folders:
        seen = list(_read(folder, ref))
        versions = [one for one in seen if isinstance(one, CachedVersion)]
        unfit = [one for one in seen if isinstance(one, InvalidEntry)]
        if not unfit and not any(one.candidates for one in versions):
            raise LibraryError(f"{folder} has no files to adopt", hint="name the folder with the downloaded models")
        found += versions
        invalid += unfit
    files = _files(found, library, copy=copy, share=share)
    copied = sum(file.size for file in files if file.how == COPY)
    return AdoptPlan(tuple(found), tuple(invalid), files, disk_need(library.root, copied), copy, share)


def _files(found: Sequence[CachedVersion], library: Library, *, copy: bool, share: bool) -> tuple[AdoptFile, ...]:
    ways: dict[Path, str] = {}
    files: dict[Path, AdoptFile] = {}
    for candidate in (candidate for one in found for candidate in one.candidates):
        source = candidate.source
        if source in files:
            continue
        if source.parent not in ways:
            # `Intake` copies what cannot be reflinked if it may, although a hard link may be possible.
            some = (REFLINK, COPY) if copy else (REFLINK, HARDLINK, COPY)
            ways[source.parent] = likely_way(source.parent, library.root, some)
        has = candidate.digest is not None and library.has(candidate.digest)
        files[source] = _forecast(source, HERE if has else ways[source.parent], library.root, copy=copy, share=share)
    return tuple(files.values())


def _forecast(source: Path, way: str, root: Path, *, copy: bool, share: bool) -> AdoptFile:
    try:
        look = source.stat()
        why = "" if share or way == HERE else _exposed(source, look, way, root)
    except OSError:
        return AdoptFile(source, 0, LINK)  # the error is reported when the file is added
    if way == COPY and not copy:
        why = why or _COPY_IT
    how = LEFT_OUT if why else way if way in (HERE, COPY) else LINK
    return AdoptFile(source, look.st_size, how, why)


def _exposed(source: Path, look: os.stat_result, way: str, root: Path) -> str:
    """Return why a file is not taken without `share`; empty if nobody can read it who cannot now."""
    if is_opened_by_library(source, look, root):
        return _SHARE_IT
    return f"{AS_LINK} (--copy)" if way == HARDLINK and is_opened_by_link(source, look) else ""


def _read(folder: Path, ref: Ref | None) -> Iterator[CachedVersion | InvalidEntry]:
    """Detect which caches a folder contains, and read them."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="preheat adopt ~/.cache/huggingface")
    if ref is not None:
        yield from hf_caches.read_local(folder, ref)
        return
    known = False
    for place in (folder, folder / "hub", folder / "huggingface" / "hub"):
        for repo in [place] if hf_caches.is_repository(place) else hf_caches.repositories(place):
            known = True
            yield from hf_caches.read_repository(repo)
    for place in (folder, folder / "modelscope"):
        for repo in [place] if ms_caches.is_repository(place) else ms_caches.repositories(place):
            known = True
            yield from ms_caches.read_repository(repo)
        for entry in ms_caches.unfinished(place):
            known = True
            yield entry
    for place in (folder, folder / "whisper"):
        if whisper_caches.is_cache(place):
            known = True
            yield from whisper_caches.read_cache(place)
    for place in (folder, folder / "models"):
        if ollama_stores.is_store(place):
            known = True
            yield from ollama_stores.read_store(place)
    if not known:
        raise UsageError(
            f"{folder} is not a known kind of cache", hint="--as owner/name, if it is a folder with one model's files"
        )
