"""Workbench: where a traced app runs, so that what it writes is seen, and the user's files stay as they were."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.core.cache_variables import new_caches
from preheat.core.errors import AppError, Busy, NoSpace, UsageError
from preheat.core.values.replace import replace
from preheat.disk.free_space import free_bytes
from preheat.guard.kernel import overlay_mounts
from preheat.guard.kernel.overlay_mounts import OverlayMounts
from preheat.guard.kernel.quiet_fork import fork
from preheat.proof.conditions.scratch_folder import remove_tree
from preheat.proof.start.proc_stats import files_in_use
from preheat.recipes.app_python import AppPython
from preheat.verbs.tracing.app_copy import copy_app
from preheat.verbs.tracing.file_listing import FileListing

OVERLAY, IN_PLACE = "overlay", "in place"
_IN_MEMORY, _LAYERS = "in memory", "layers"
_LONGEST_REASON = 4096  # bytes
_FULL = 1 << 16  # free bytes


@dataclass(frozen=True, slots=True)
class AppFolders:
    """The folders that an app writes to: its own, the user's home, its Python environment, and temporary files'."""

    app: Path
    home: Path | None = None
    environment: Path | None = None
    temporary: Path | None = None

    @classmethod
    def of(cls, app: Path, command: Sequence[str], environ: Mapping[str, str], home: Path | None) -> "AppFolders":
        """Return the folders of an app that is started with this command and environment."""
        temporary = Path(environ.get("TMPDIR") or tempfile.gettempdir())
        return cls(app, home, _environment(app, command, environ), temporary)

    @property
    def existing(self) -> tuple[str, ...]:
        """Return the real paths of those that exist."""
        some = (self.app, self.home, self.environment, self.temporary)
        return tuple(os.path.realpath(one) for one in some if one is not None and one.is_dir())


def _environment(app: Path, command: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    """Return the folder of the Python environment that the command uses, if this process may write to it."""
    prefix = AppPython.of(environ, app, command).prefix
    # Packages that are installed after the distribution's own go to /usr/local.
    prefix = Path("/usr/local") if prefix == Path("/usr") else prefix
    return prefix if prefix is not None and prefix != Path("/") and os.access(prefix, os.W_OK) else None


@dataclass(frozen=True, slots=True)
class _Way:
    """How to get overlays: in a user namespace or not, and with the app's writes in memory or on the library's disk."""

    user: bool
    memory: bool

    def enter(self, folders: AppFolders, through: Sequence[str], layers: Path) -> OverlayMounts:
        """Move this process to overlays over the folders. Raise OSError."""
        overlay_mounts.enter(user=self.user)
        layers.mkdir(parents=True, exist_ok=True)
        if self.memory:
            overlay_mounts.mount_memory(str(layers))
        mounts = OverlayMounts(folders.existing, through)
        at = str(layers / "0")
        mounts.make(at)
        mounts.lay(at)
        return mounts

    def why_not(self, folders: AppFolders, through: Sequence[str], layers: Path) -> str:
        """Return why `enter` fails, empty if it does not; a child process tries it."""
        ours, its = os.pipe()
        child = fork()
        if child == 0:
            why = ""
            try:
                mounts = self.enter(folders, through, layers)
                why = "" if mounts.folder_of(os.path.realpath(folders.app)) else f"{folders.app} cannot be covered"
            except Exception as error:  # noqa: BLE001 - the parent reports it
                why = str(error) or repr(error)
            finally:
                os.write(its, os.fsencode(why)[:_LONGEST_REASON])
                os._exit(0)
        os.close(its)
        try:
            return os.fsdecode(os.read(ours, _LONGEST_REASON))
        finally:
            os.close(ours)
            os.waitpid(child, 0)


@dataclass(frozen=True, slots=True)
class Ground:
    """Where an app is started again: its folder, and a new HOME and folder of temporary files (None: as before).

    `moved` maps the app's own folder to `folder`, if that is a copy. `covered` are the folders where files can be
    placed: what is written there is dropped.
    """

    folder: Path
    home: Path
    temporary: Path | None
    moved: tuple[Path, Path] | None
    covered: tuple[str, ...]

    def here(self, text: str) -> str:
        """Return a word of the app's command or environment, with the app's folder replaced by its copy."""
        return text if self.moved is None else text.replace(str(self.moved[0]), str(self.moved[1]))

    def covers(self, path: Path) -> bool:
        """Return whether a file placed at `path` is dropped after the replay."""
        real = os.path.realpath(path)
        return any(real == one or real.startswith(f"{one}/") for one in self.covered)


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of an app's folder. Raise Busy while another trace has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Busy(f"another preheat trace is running in {folder}", hint="wait for it, or stop it") from error
    except OSError:
        pass  # a network share without locks
    try:
        yield
    finally:
        os.close(descriptor)


class Workbench:
    """Where a traced app runs. `how` is OVERLAY or IN_PLACE, `detail` the same with what else users should know.

    `ground_words` are those for where a replay runs, `reason` is why there is no overlay.

    Under OVERLAY, this process sees the app's folder, HOME, the Python environment and the folder of temporary files
    through overlays: writes to them are seen by this process and its children only, and dropped in the end. The library
    is not covered. Under IN_PLACE, the app writes to its own folders, and a replay gets a copy of the app's folder.
    """

    def __init__(
        self, folders: AppFolders, library_root: Path, workplace: Path, mounts: OverlayMounts | None, way: _Way | None
    ) -> None:
        self.folders = folders
        self.how = IN_PLACE if mounts is None else OVERLAY
        words = [self.how]
        if way is not None:
            words += ["in a user namespace"] * way.user + [_IN_MEMORY] * way.memory
        self.detail = ", ".join(words)
        self.reason = "this process must not be moved" if mounts is None else ""
        self.ground_words = "a copy of its folder" if mounts is None else self.detail
        self._library, self._workplace, self._mounts = os.path.realpath(library_root), workplace, mounts
        self._layers, self._turn = Path(os.path.realpath(workplace)) / _LAYERS, 0
        self._before = FileListing() if mounts is not None else self._listing()

    @classmethod
    def open(cls, folders: AppFolders, library_root: Path, workplace: Path, *, overlay: bool = True) -> "Workbench":
        """Return the workbench for an app; with `overlay`, move this process to overlays if the system permits it.

        `workplace` is a temporary folder below the library. The process must have one thread only, and stays in the
        overlays until it ends.
        """
        reasons: dict[str, None] = {}
        if overlay:
            through, real = (str(library_root),), Path(os.path.realpath(workplace))
            for number, way in enumerate(_Way(user, memory) for memory in (False, True) for user in (False, True)):
                why = way.why_not(folders, through, real / f"tried-{number}")
                if not why:
                    try:
                        mounts = way.enter(folders, through, real / _LAYERS)
                        return cls(folders, library_root, workplace, mounts, way)
                    except OSError as error:
                        why = str(error)
                reasons.setdefault(why)
        bench = cls(folders, library_root, workplace, None, None)
        bench.reason = "; ".join(reasons) or bench.reason
        return bench

    def require_room(self, failed: AppError) -> None:
        """Raise NoSpace if no space is left for what the app writes, for which it probably failed."""
        if self._mounts is None or free_bytes(self._layers) >= _FULL:
            return
        raise NoSpace(
            f"no space left on {self._library}, where a trace keeps what the app writes; {failed}",
            hint="free some disk space, or choose another folder with --library",
        ) from failed

    def written(self) -> tuple[str, ...]:
        """List the files that were created or changed so far, by native programs too, also in new caches."""
        caches = FileListing.of(new_caches(self._workplace).values(), ()).files
        if self._mounts is None:
            # What this process writes to, such as its redirected output, is not the app's.
            _, ours = files_in_use([os.getpid()])
            return (*(path for path in self._listing().since(self._before) if path not in ours), *caches)
        own = (
            path
            for folder in self._mounts.folders
            for path in _files_in(Path(self._layer(folder)), folder)
            if _differs(self.real(path), self._mounts.original(path))
        )
        return (*own, *caches)

    def real(self, path: str) -> Path:
        """Return where the file at `path` is stored: a link to it can be made from there, and not from the overlay."""
        folder = None if self._mounts is None else self._mounts.folder_of(path)
        if self._mounts is None or folder is None:
            return Path(path)
        upper = Path(self._layer(folder) + path[len(folder) :])
        return upper if os.path.lexists(upper) else Path(self._mounts.original(path))

    def outside(self, path: Path) -> Path:
        """Return a path that leads to the user's own file, below the overlay: what is written there stays."""
        return path if self._mounts is None else Path(self._mounts.original(os.path.realpath(path)))

    @contextlib.contextmanager
    def ground(self) -> Iterator[Ground]:
        """Drop what was written since the beginning, and yield where to start the app again; remove that afterwards.

        No process of an earlier start may be left. Raise UsageError if the app's folder cannot be copied.
        """
        self._turn += 1
        folder, place = self.folders.app, Path(os.path.realpath(self._workplace)) / f"r{self._turn}"
        home = place / "home"
        home.mkdir(parents=True)
        if self._mounts is not None:
            self._mounts.make(str(self._layers / str(self._turn)))
            self._mounts.lay(str(self._layers / str(self._turn)))
            remove_tree(self._layers / str(self._turn - 1))
            covered, temporary, moved = (*self._mounts.folders, str(place)), None, None
        else:
            moved = (folder, place / "app")
            temporary = place / "tmp"
            temporary.mkdir()
            self._copy(place / "app")
            folder, covered = place / "app", (str(place),)
        try:
            yield Ground(folder, home, temporary, moved, covered)
        finally:
            remove_tree(place)

    def _copy(self, target: Path) -> None:
        created = {path for path in self._listing().since(self._before) if path not in self._before.files}
        try:
            copy_app(self.folders.app, target, {*created, self._library, str(self._workplace)})
        except OSError as error:
            raise UsageError(f"{error.filename} cannot be copied for the replay: {error.strerror}") from error

    def _listing(self) -> FileListing:
        # Not the folder of temporary files: other programs write there too.
        own = replace(self.folders, temporary=None).existing
        return FileListing.of(own, {self._library, *map(str, new_caches(self._workplace).values())})

    def _layer(self, folder: str) -> str:
        assert self._mounts is not None
        return self._mounts.layer(str(self._layers / str(self._turn)), folder)


def _files_in(layer: Path, folder: str) -> Iterator[str]:
    """Yield the regular files of a layer, by their paths in `folder`. Deleted files are devices there, and skipped."""
    for place, _, names in os.walk(layer):
        where = folder + place[len(str(layer)) :]
        for name in names:
            with contextlib.suppress(OSError):
                if stat.S_ISREG(os.lstat(f"{place}/{name}").st_mode):
                    yield f"{where}/{name}"


def _differs(path: Path, original: str) -> bool:
    """Return whether a file was created or changed, and not only opened for writing."""
    try:
        before = Path(original).stat()
        now = path.stat()
    except OSError:
        return True
    return (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns)
