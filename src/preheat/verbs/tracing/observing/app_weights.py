"""App weights: tell an app's weights, which it may have had before the trace, from its own code and settings."""

import os
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from preheat.library.small_files import read_small
from preheat.recipes.inference.bookkeeping import is_bookkeeping, is_code, is_secret
from preheat.recipes.inference.layout_paths import within
from preheat.recipes.places import Places
from preheat.verbs.tracing.observing.below_places import below_places

# Endings of weights; other files are weights if they are large, or in one folder with some.
_WEIGHTS = (
    ".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".gguf", ".ggml", ".h5", ".hdf5", ".pdparams",
    ".pdmodel", ".tflite", ".mlmodel", ".npz", ".pb", ".engine", ".model", ".tiktoken", ".fst", ".far", ".msgpack",
    ".index", ".spm", ".vec", ".joblib", ".pkl", ".nemo", ".t7", ".jit", ".pte", ".keras", ".data", ".arrow",
)  # fmt: skip
_LARGE = 1_000_000  # bytes
# Folders of the system, which packages install to.
_SYSTEM = ("/usr/", "/lib", "/etc/", "/proc/", "/sys/", "/dev/", "/opt/conda/", "/bin/", "/snap/", "/nix/")
_MOST_INDEX = 64 << 20  # bytes of a git index
# Folders of HOME where libraries keep downloads under names that are not hidden.
_DATA_FOLDERS = (
    "nltk_data/",
    "gensim-data/",
    "scikit_learn_data/",
    "seaborn-data/",
    "tensorflow_datasets/",
    "mne_data/",
)
# Folders of HOME that contain programs and settings, not weights.
_NOT_WEIGHTS = (".local/lib/", ".local/bin/", ".config/", ".ssh/", ".gnupg/", ".vscode", ".pyenv/", ".conda/", ".npm/")


def may_be_weights(path: str, places: Places, caches: Collection[str], size: int, prefix: Path | None) -> bool:
    """Return whether a file that the app read is one that a new machine would lack, and not its own code or a setting.

    Code in a cache is such a file: torch.hub keeps repositories there. `caches` are the folders of the app's caches,
    `size` is in bytes, `prefix` is the folder of the app's Python.
    """
    judged = below_places(places)(path)
    if is_bookkeeping(judged) or is_secret(judged):
        return False
    if prefix is not None and within(path, str(prefix)) is not None:
        return False
    own = str(places.dir)
    below = within(path, own)
    if below is not None:
        plain = size > 0 and not is_code(path)
        return plain and below not in _tracked(own) and not _in_environment(path, own) and _is_data(path, own, size)
    if any(within(path, folder) is not None for folder in caches):
        return True
    if places.tmp is not None and within(path, str(places.tmp)) is not None:
        return True
    home = "" if places.home is None else str(places.home)
    below = within(path, home) if home else None
    if below is None or below.startswith(_NOT_WEIGHTS) or _in_environment(path, home):
        return False
    if (below.startswith(".") and "/" in below) or below.startswith(_DATA_FOLDERS):
        return True
    return size > 0 and not is_code(path) and _is_data(path, home, size)


def _is_data(path: str, top: str, size: int) -> bool:
    return size >= _LARGE or path.endswith(_WEIGHTS) or _beside_weights(path.rpartition("/")[0], top)


def looks_like_weights(path: str, size: int, prefix: Path | None) -> bool:
    """Return whether a file outside of the app's folder and HOME is weights, by its ending and size in bytes."""
    if size < _LARGE or not path.endswith(_WEIGHTS) or path.startswith(_SYSTEM):
        return False
    return prefix is None or within(path, str(prefix)) is None


@lru_cache(maxsize=4096)
def _beside_weights(folder: str, top: str) -> bool:
    """Return whether a folder, or one above it below `top`, has a large file with weights' ending."""
    while within(folder, top):
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_WEIGHTS) and entry.is_file() and entry.stat().st_size >= _LARGE:
                    return True
        folder = folder.rpartition("/")[0]
    return False


@lru_cache(maxsize=4096)
def _in_environment(path: str, top: str) -> bool:
    """Return whether a file is in a Python environment below `top`, which is installed and not downloaded."""
    folder = path.rpartition("/")[0]
    while within(folder, top):
        if os.path.exists(f"{folder}/pyvenv.cfg") or os.path.isdir(f"{folder}/conda-meta"):  # noqa: PTH110, PTH112
            return True
        folder = folder.rpartition("/")[0]
    return False


@lru_cache(maxsize=4)
def _tracked(folder: str) -> frozenset[str]:
    """Return the files that the app's own repository has, from its git index; empty if there is none."""
    try:
        return frozenset(_index_names(read_small(Path(folder, ".git", "index"), _MOST_INDEX)))
    except (OSError, ValueError, struct.error, IndexError):
        return frozenset()


def _index_names(data: bytes) -> Iterator[str]:
    """Yield the paths in a git index of version 2 or 3 (gitformat-index(5)); version 4 has compressed paths."""
    signature, version, count = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        return
    at, name = 12, b""
    for _ in range(count):
        (flags,) = struct.unpack_from(">H", data, at + 60)
        start = at + 62 + (2 if version >= 3 and flags & 0x4000 else 0)
        if version == 4:
            cut, start = _offset(data, start)
            end = data.index(b"\0", start)
            name = name[: len(name) - cut] + data[start:end]
            at = end + 1
        else:
            end = data.index(b"\0", start)
            name = data[start:end]
            at += (end - at + 8) // 8 * 8
        yield os.fsdecode(name)


def _offset(data: bytes, at: int) -> tuple[int, int]:
    """Decode a number as git's packs encode offsets; return it and the position behind it."""
    byte = data[at]
    value = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = data[at]
        value = ((value + 1) << 7) | (byte & 0x7F)
    return value, at + 1
