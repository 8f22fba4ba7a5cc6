"""Stage notes: the models and apps that were staged in a library, with their last use and the jobs that hold them."""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from preheat.core.errors import LibraryError, UsageError
from preheat.core.ref import Ref
from preheat.disk.temporary_file import write_whole
from preheat.library.blobs.disk_errors import disk_trouble
from preheat.library.records.process_ids import kernel
from preheat.library.small_files import read_small

FOLDER = "stages"
_NOTE, _HOLDS, _LOCK = "staged.json", "holds", ".lock"
_JOB = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,99}")
_VIEW = re.compile(r"(?!\.)[^/]+")


class _Version(msgspec.Struct, frozen=True):
    hub: str
    kind: str
    repo: str
    commit: str


class _StagedFile(msgspec.Struct, frozen=True):
    app: str
    versions: list[_Version]
    views: list[str]
    left_out: list[str] = []
    looked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class StageNote:
    """An app that was staged: its `versions`, each ref with its commit, and its folders in the library's `views`.

    `left_out`: needs that no source had at `looked_at`. `used_at`: when it was last staged, also without a download.
    Both are in epoch seconds.
    """

    name: str
    app: str
    versions: tuple[Ref, ...]
    views: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    looked_at: float = 0.0
    used_at: float = 0.0


class StageNotes:
    """The notes of a library: `stages/NAME/staged.json`, and `stages/NAME/holds/JOB` for each job that uses it."""

    def __init__(self, root: Path) -> None:
        self._root = root / FOLDER

    @contextlib.contextmanager
    def locked(self, *, shared: bool = False) -> Iterator[None]:
        """Exclude other processes that place views or remove something; with `shared`, only those that remove.

        Without write access, as in a job of a user who does not own the stage, a missing lock file is no error.
        """
        path = self._root / _LOCK
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            if shared:
                yield  # nothing was ever staged
                return
            descriptor = self._new_lock(path)
        except OSError as error:
            raise disk_trouble(error, path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def find(self, name: str) -> StageNote | None:
        """Return a note, or None."""
        path = self._root / name / _NOTE
        try:
            read = msgspec.json.decode(read_small(path), type=_StagedFile)
            used_at = path.stat().st_mtime
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None
        except OSError as error:
            raise disk_trouble(error, path) from error
        versions = tuple(Ref(one.hub, one.kind, one.repo, one.commit) for one in read.versions)
        views = tuple(view for view in read.views if _VIEW.fullmatch(view))
        return StageNote(name, read.app, versions, views, tuple(read.left_out), read.looked_at, used_at)

    def all(self) -> list[StageNote]:
        """Return all notes, the least recently used first."""
        names = (path.parent.name for path in self._root.glob(f"*/{_NOTE}"))
        return sorted((note for name in names if (note := self.find(name)) is not None), key=lambda one: one.used_at)

    def write(self, note: StageNote) -> None:
        """Write a note, which counts as used now. Raise LibraryError."""
        versions = [_Version(one.hub, one.kind, one.repo, one.revision) for one in note.versions]
        noted = _StagedFile(note.app, versions, list(note.views), list(note.left_out), note.looked_at)
        body = msgspec.json.format(msgspec.json.encode(noted), indent=1)
        path = self._root / note.name / _NOTE
        try:
            write_whole(path, body + b"\n")
        except OSError as error:
            raise disk_trouble(error, path) from error

    def use(self, name: str, job: str = "") -> None:
        """Note that it is used now, and held for `job` until it is released. Raise LibraryError for a hold only."""
        with contextlib.suppress(OSError):
            os.utime(self._root / name / _NOTE)
        if not job:
            return
        path = self._root / name / _HOLDS / require_job(job)
        try:
            write_whole(path, f"{_boot()}\n".encode(), durable=False)
        except OSError as error:
            raise disk_trouble(error, path) from error

    def release(self, job: str) -> int:
        """Remove the holds of a job; return how many there were. Raise LibraryError."""
        held = list(self._root.glob(f"*/{_HOLDS}/{require_job(job)}"))
        for path in held:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_trouble(error, path) from error
        return len(held)

    def holders(self, name: str) -> list[str]:
        """Return the jobs that hold it, without those from before this machine was last started."""
        found = []
        for path in sorted((self._root / name / _HOLDS).glob("[!.]*")):
            with contextlib.suppress(OSError):
                if read_small(path, 100).decode("ascii", "replace").strip() == _boot():
                    found.append(path.name)
        return found

    def remove(self, name: str) -> None:
        """Remove a note with its holds."""
        shutil.rmtree(self._root / name, ignore_errors=True)

    def _new_lock(self, path: Path) -> int:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except PermissionError as error:
            raise LibraryError(
                f"{path.parent.parent} is not writable", hint="choose another folder: --to DIR"
            ) from error
        except OSError as error:
            raise disk_trouble(error, path) from error


def require_job(job: str) -> str:
    """Return the name of a job. Raise UsageError if it cannot be the name of a file."""
    if not _JOB.fullmatch(job):
        raise UsageError(f"{job!r} cannot be the name of a job", hint='for example --hold "$SLURM_JOB_ID"')
    return job


def _boot() -> str:
    return kernel().partition(" ")[0]
