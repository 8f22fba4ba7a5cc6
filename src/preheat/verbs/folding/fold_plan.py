"""Fold plan: the files in apps' model folders, which are duplicates, and which become links; changes nothing."""

import functools
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preheat.core.digest import sha256
from preheat.core.events import Listener, Read, Reading
from preheat.core.ref import Ref
from preheat.core.units import say_seconds, say_size
from preheat.desk.app_folders import AppFolder, AppSurvey
from preheat.desk.file_kind import read_kind
from preheat.desk.model_apps import ModelApp
from preheat.desk.whole_file import missing_bytes
from preheat.disk.free_space import DiskNeed, disk_need, existing
from preheat.disk.readers import Readers
from preheat.library.library import Library
from preheat.verbs.folding.fold_journal import WRITTEN_THROUGH, JournalEntry
from preheat.verbs.folding.hash_memory import HashMemory
from preheat.verbs.folding.model_files import ModelFile, Unlisted, list_files
from preheat.verbs.folding.model_hashes import ModelHash, hash_files, unknown_files
from preheat.verbs.folding.safe_ways import SafeWays

LINKED, FOLD, LEFT = "linked", "fold", "left"
HASHING = "hash"
INCOMPLETE = "incomplete"  # the kind of a file that has fewer bytes than its header describes


@dataclass(frozen=True, slots=True)
class FoldFile:
    """A model file, its hash, and what becomes of it: LINKED already, to FOLD, or LEFT unchanged for `reason`.

    `ways`: the kinds of link that its apps accept and its filesystem may support, in order of preference. `copied`: its
    bytes are on another filesystem than the library, which needs a copy of them; if it is LEFT, `--copy` would do that.
    """

    file: ModelFile
    hash: ModelHash
    state: str
    ways: tuple[str, ...] = ()
    reason: str = ""
    copied: bool = False


@dataclass(frozen=True, slots=True)
class ModelGroup:
    """All files with the same bytes. `in_library`: the size on disk of a blob that is none of them; else 0.

    `names`: what the library has recorded with this digest, as `REF PATH`. `kind`: see desk.file_kind; may be empty.
    """

    sha256: str
    files: tuple[FoldFile, ...]
    in_library: int = 0
    names: tuple[str, ...] = ()
    kind: str = ""

    @property
    def size(self) -> int:
        """Return the size of each of the files, in bytes."""
        return self.files[0].file.size

    @property
    def autov2(self) -> str:
        """Return the hash as Civitai and AUTOMATIC1111 show it: the first 10 digits of the sha256."""
        return self.sha256[:10].upper()

    @property
    def apps(self) -> tuple[ModelApp, ...]:
        """Return the apps that use the files."""
        return tuple(dict.fromkeys(app for one in self.files for app in one.file.apps))

    @property
    def before(self) -> int:
        """Return the bytes on disk now: of each inode once, and of the library's blob."""
        return self.in_library + _on_disk(self.files)

    @property
    def after(self) -> int:
        """Return the bytes on disk after folding: of one blob, and of each file that is left unchanged."""
        left = [one for one in self.files if one.state == LEFT]
        shared = len(left) < len(self.files) or self.in_library
        one = self.in_library or min(one.file.blocks for one in self.files)
        return (one if shared else 0) + _on_disk(left)

    @property
    def twice(self) -> int:
        """Return the bytes on disk of all copies but one."""
        return self.before - min([self.in_library or self.before, *(one.file.blocks for one in self.files)])


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """The model folders, their files grouped by content, and those that could not be read.

    `notes`: subject and text about settings that were not read. `disk`: the space that copies need in the library.
    `copyable`: the bytes that `--copy` would copy.
    """

    library: Path
    folders: tuple[AppFolder, ...]
    groups: tuple[ModelGroup, ...]
    unread: tuple[Unlisted, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    disk: DiskNeed = field(default_factory=lambda: DiskNeed(Path("/"), 0, 0))
    copyable: int = 0

    @property
    def files(self) -> tuple[FoldFile, ...]:
        """Return all files whose hash is known."""
        return tuple(one for group in self.groups for one in group.files)

    @property
    def size(self) -> int:
        """Return the bytes on disk of all files, each inode once."""
        return sum(_on_disk(group.files) for group in self.groups)

    @property
    def twice(self) -> int:
        """Return the bytes on disk of all copies but one of each file."""
        return sum(group.twice for group in self.groups)

    @property
    def saved(self) -> int:
        """Return the bytes that folding frees."""
        return sum(group.before - group.after for group in self.groups)

    @property
    def apps(self) -> tuple[ModelApp, ...]:
        """Return the apps that use the files."""
        return tuple(dict.fromkeys(app for group in self.groups for app in group.apps))

    def of_app(self, app: ModelApp) -> tuple[ModelGroup, ...]:
        """Return the groups that an app uses."""
        return tuple(group for group in self.groups if app in group.apps)


def plan_fold(
    survey: AppSurvey,
    library: Library,
    memory: HashMemory,
    on_event: Listener,
    folded: Mapping[Path, JournalEntry] | None = None,
    *,
    copy: bool = False,
    settle_s: float = 0.0,
) -> FoldPlan:
    """List and hash the files of the apps, and decide for each what becomes of it.

    `folded`: the files that were folded before, and are not restored. `copy`: files on another filesystem may be copied
    to the library. Files that changed less than `settle_s` ago are not read.
    """
    files: list[ModelFile] = []
    unread: list[Unlisted] = []
    present: list[os.stat_result] = []
    now_ns = time.time_ns()
    for one in list_files(survey.folders, [library.root]):
        if isinstance(one, Unlisted):
            unread.append(one)
            continue
        present.append(one.look)
        if is_settled(one.look, settle_s, now_ns):
            files.append(one)
        else:
            unread.append(Unlisted(one.path, f"it changed less than {say_seconds(settle_s)} ago"))
    new = unknown_files(files, memory)
    on_event(Reading(HASHING, len(new), sum(file.size for file in new)))
    hashes = hash_files(files, memory, lambda size: on_event(Read(size)))
    by_hash: dict[str, list[ModelFile]] = {}
    for file in files:
        if (trouble := hashes[file.inode].trouble) != "":
            unread.append(Unlisted(file.path, trouble))
        else:
            by_hash.setdefault(hashes[file.inode].sha256, []).append(file)
    names = _recorded_names(library, by_hash)
    judge = _Judge(library, folded or {}, copy=copy)
    groups = []
    for digest, same in by_hash.items():
        blob = judge.blob(digest)
        kind = memory.kind(digest, functools.partial(_kind, same[0].path))
        judged = judge.files(same, hashes, blob)
        if kind == INCOMPLETE:
            judged = tuple(_left_as_incomplete(one) for one in judged)
        apart = blob is not None and all((blob.st_dev, blob.st_ino) != file.inode for file in same)
        in_library = blob.st_blocks * 512 if blob is not None and apart else 0
        groups.append(ModelGroup(digest, judged, in_library, names.get(digest, ()), kind))
    memory.save(present)
    groups.sort(key=lambda group: (-group.twice, -group.size, group.sha256))
    copied = sum(_copied(group) for group in groups)
    copyable = sum(group.size for group in groups if any(one.state == LEFT and one.copied for one in group.files))
    need = disk_need(existing(library.root), copied)
    return FoldPlan(library.root, survey.folders, tuple(groups), tuple(unread), survey.notes, need, copyable)


def _recorded_names(library: Library, digests: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return what the library has recorded with each of these sha256 digests: the ref and the path of each file."""
    wanted = {f"sha256:{digest}" for digest in digests}
    refs: dict[Ref, None] = {}
    for record in library.records.listed() if wanted else ():
        if any(file.digest in wanted for file in record.files):
            refs[record.ref] = None
    found: dict[str, list[str]] = {}
    for ref in refs:
        snapshot = library.find(ref)
        for file in snapshot.files if snapshot is not None else ():
            if str(file.digest) in wanted:
                found.setdefault(file.digest.hex, []).append(f"{ref} {file.path}")
    return {digest: tuple(sorted(names)) for digest, names in found.items()}


def is_settled(look: os.stat_result, settle_s: float, now_ns: int) -> bool:
    """Return whether a file has not changed for so long. Programs cannot set the ctime; a wrong clock may."""
    return abs(now_ns - look.st_ctime_ns) >= settle_s * 10**9


def _kind(path: Path) -> str:
    try:
        return INCOMPLETE if missing_bytes(path) else read_kind(path).kind
    except OSError:
        return ""


def _left_as_incomplete(one: FoldFile) -> FoldFile:
    """Return a file that is left unchanged, so that a program can still continue the download."""
    reason = "it is incomplete: its header describes more bytes than it has"
    return one if one.state == LINKED else FoldFile(one.file, one.hash, LEFT, reason=reason)


class _Judge:
    """Decides what becomes of each file."""

    def __init__(self, library: Library, folded: Mapping[Path, JournalEntry], *, copy: bool) -> None:
        self._library = library
        self._folded = folded
        self._copy = copy
        self._safe = SafeWays(library.root)
        self._device = existing(library.root).stat().st_dev

    def blob(self, digest: str) -> os.stat_result | None:
        try:
            return self._library.path(sha256(digest)).stat()
        except OSError:
            return None

    def files(
        self, same: Sequence[ModelFile], hashes: Mapping[tuple[int, int], ModelHash], blob: os.stat_result | None
    ) -> tuple[FoldFile, ...]:
        """Decide for all files with the same bytes; `blob` is the stat result of a blob with them."""
        readers, alone = self._safe.readers_now(same, blob), len({one.inode for one in same}) == 1
        return tuple(self._file(file, hashes[file.inode], readers, blob, alone=alone) for file in same)

    def _file(
        self,
        file: ModelFile,
        known: ModelHash,
        readers: Collection[Readers],
        blob: os.stat_result | None,
        *,
        alone: bool,
    ) -> FoldFile:
        before = self._folded.get(file.path)
        if before is not None and before.is_written_through(file.look, known.sha256, self._library.path(before.digest)):
            return FoldFile(file, known, LEFT, reason=WRITTEN_THROUGH)
        is_reflink = before is not None and before.is_reflink(file.look)
        if blob is not None and (is_reflink or (blob.st_dev, blob.st_ino) == file.inode):
            return FoldFile(file, known, LINKED)
        ways, reason = self._safe.of(file, readers)
        apart = file.look.st_dev != self._device
        if ways and apart:
            if blob is None and alone:
                ways, reason = (), "it is the only copy, on another filesystem than the library"
            elif not self._copy:
                size = say_size(file.size)
                reason = f"it has {size} on another filesystem than the library: --copy puts one copy there"
                return FoldFile(file, known, LEFT, reason=reason, copied=True)
        if not ways:
            return FoldFile(file, known, LEFT, reason=reason)
        return FoldFile(file, known, FOLD, ways, copied=apart)


def _on_disk(files: Iterable[FoldFile]) -> int:
    """Return the bytes on disk of the files: each inode once, and reflinks of a blob not at all but for one."""
    inodes = {one.file.inode: one for one in files}.values()
    own = [one.file.blocks for one in inodes if one.state != LINKED]
    linked = [one.file.blocks for one in inodes if one.state == LINKED]
    return sum(own) + max(linked, default=0)


def _copied(group: ModelGroup) -> int:
    """Return the bytes to copy to the library: none if it has the blob, or a file on its filesystem becomes it."""
    folded = [one for one in group.files if one.state == FOLD]
    if group.in_library or any(one.state == LINKED for one in group.files):
        return 0
    return group.size if folded and all(one.copied for one in folded) else 0
