"""Model files: the large files in apps' model folders, each once, with the apps that use it."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preheat.desk.app_folders import AppFolder
from preheat.desk.model_apps import ModelApp
from preheat.disk.regular_file import why

SMALLEST = 1 << 20  # bytes; smaller files are settings, which people edit, and hardly take space
# Names of model files; in stores that name files by digest, each large file counts.
_MODEL = re.compile(
    r".*\.(safetensors|sft|ckpt|pth?|bin|gguf|ggml|onnx|onnx_data|pkl|npz|npy|h5|msgpack|tflite|nemo|vae|params|model)",
    re.IGNORECASE | re.DOTALL,
)
# Downloads in progress of apps and browsers, and temporary files of preheat.
_UNFINISHED = re.compile(
    r".*(\.(incomplete|partial|part|tmp|temp|download|downloading|downloadInProgress|aria2|crdownload|new)"
    r"|-partial(-\d+)?)",
    re.IGNORECASE | re.DOTALL,
)
# What aria2 and axel keep beside a file that they have given its full size, until they have all of it.
_BESIDE = (".aria2", ".st")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A regular file in folders of `apps`, with its stat result. Two names of one inode are two files."""

    path: Path
    look: os.stat_result
    apps: tuple[ModelApp, ...]

    @property
    def size(self) -> int:
        """Return its size in bytes."""
        return self.look.st_size

    @property
    def blocks(self) -> int:
        """Return its size on disk in bytes, which is less for a sparse file."""
        return self.look.st_blocks * 512

    @property
    def inode(self) -> tuple[int, int]:
        """Return the device and the inode number."""
        return self.look.st_dev, self.look.st_ino


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A folder that cannot be listed, or a file that is left out before it is read, and the reason."""

    path: Path
    reason: str


def list_files(folders: Sequence[AppFolder], without: Iterable[Path] = ()) -> Iterator[ModelFile | Unlisted]:
    """Yield the model files in `folders`, each path once, in order of paths; skip the folders `without`.

    Symlinks to files are not files of their own. Symlinks to folders are followed if this user or root made them; each
    folder is listed once, so a loop of symlinks ends.
    """
    by_folder: dict[Path, dict[str, ModelApp]] = {}
    notes: list[Unlisted] = []
    skipped = {os.path.realpath(path) for path in without}
    for folder in folders:
        for place in _folders_below(folder.path, skipped, notes):
            by_folder.setdefault(place, {})[folder.app.name] = folder.app
    yield from dict.fromkeys(notes)
    for place in sorted(by_folder):
        yield from _files_in(place, tuple(by_folder[place].values()))


def _folders_below(folder: Path, skipped: set[str], notes: list[Unlisted]) -> Iterator[Path]:
    seen: set[str] = set()
    queue = [str(folder)]
    while queue:
        real = os.path.realpath(queue.pop())
        if real in seen or real in skipped:
            continue
        seen.add(real)
        try:
            with os.scandir(real) as entries:
                queue += [entry.path for entry in entries if _is_folder(entry)]
        except OSError as error:
            notes.append(Unlisted(Path(real), f"it cannot be listed: {why(error)}"))
            continue
        yield Path(real)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        if not entry.is_symlink():
            return entry.is_dir()
        return entry.is_dir() and entry.stat(follow_symlinks=False).st_uid in (0, os.geteuid())
    except OSError:  # a broken symlink, or a loop
        return False


def _files_in(place: Path, apps: tuple[ModelApp, ...]) -> Iterator[ModelFile | Unlisted]:
    nameless = any(app.nameless for app in apps)
    try:
        with os.scandir(place) as entries:
            names = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except OSError:
        return  # removed since
    for name in sorted(names):
        if not (nameless or _MODEL.fullmatch(name)) or _UNFINISHED.fullmatch(name):
            continue
        if any(f"{name}{ending}" in names for ending in _BESIDE):
            continue
        path = place / name
        try:
            look = path.lstat()
        except OSError:
            continue  # removed since
        if stat.S_ISREG(look.st_mode) and look.st_size >= SMALLEST:
            yield ModelFile(path, look, apps)
