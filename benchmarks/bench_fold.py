"""Bench fold: a box of five apps with 43 GB of models, each four times: space, rates, and whether undo restores all.

`python -m benchmarks.bench_fold [--folder DIR]`. It needs 12 GB of disk, since most models are sparse. The command runs
as a user without rights, also if root starts this. Writes benchmarks/results/fold.json and a table in docs/fold.md.
"""

import argparse
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.fold_report import write_table
from benchmarks.machine import describe
from benchmarks.synthetic_models import Model, models

from preheat.desk.file_kind import read_kind

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/fold.json"
AS_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000") if os.geteuid() == 0 else ()
THREADS = os.cpu_count() or 1
MANY, MANY_SIZE, SAME = 10_000, 1 << 20, 4
_STEP = 4 << 20
_MODES = (0o644, 0o640, 0o600, 0o664)
# Each image model is in ComfyUI (twice), AUTOMATIC1111 and SwarmUI; each language model in Ollama (twice), ComfyUI and
# text-generation-webui.
INSTALLED = (
    "ComfyUI/folder_paths.py",
    "ComfyUI/comfy/sd.py",
    "stable-diffusion-webui/webui.py",
    "stable-diffusion-webui/modules/sd_models.py",
    "SwarmUI/SwarmUI.sln",
    "text-generation-webui/server.py",
    "text-generation-webui/download-model.py",
)
IMAGE_FOLDERS = (
    "ComfyUI/models/checkpoints",
    "ComfyUI/models/backup",
    "stable-diffusion-webui/models/Stable-diffusion",
    "SwarmUI/Models/Stable-Diffusion",
)
TEXT_FOLDERS = ("ComfyUI/models/text_encoders", "text-generation-webui/user_data/models")
OLLAMA = ".ollama/models/blobs"

Look = tuple[str, int, int, int, int]


def main() -> None:
    """Measure, and write the results."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--folder", type=Path, help="where to make the box (default: the folder for temporary files)")
    words.add_argument("--table", action="store_true", help="only write the table again")
    options = words.parse_args()
    if not options.table:
        with tempfile.TemporaryDirectory(prefix="bench-fold-", dir=options.folder) as workplace:
            told = measure(Path(workplace))
        RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    write_table(json.loads(RESULTS.read_text()))


def measure(workplace: Path) -> dict[str, object]:
    """Return all figures."""
    home = workplace / "home"
    files = make_box(home)
    told: dict[str, object] = {"machine": describe(workplace), "threads": THREADS}
    dense = [path for path, model in files.items() if model.dense]
    told["sha256_rate"], told["sha256_per_cpu_s"] = sha256_rate()
    evict(dense)
    told["disk_rate"] = disk_rate(dense)
    evict(dense)
    before = {path: look(path) for path in files}  # without the bytes, which would be cached
    unique = {model.name: path for path, model in reversed(files.items())}
    told["box"] = {
        "files": len(files),
        "models": len(unique),
        "apparent": sum(model.size for model in files.values()),
        "unique": sum(model.size for model in {model.name: model for model in files.values()}.values()),
        "dense": sum(path.stat().st_size for path in dense),
        "disk": on_disk(files),
        "disk_unique": on_disk(unique.values()),
    }
    told["first"], plan = timed(home, "fold")
    told["duplicates"] = plan["twice"] / plan["size"]
    told["again"], _ = timed(home, "fold")
    told["yes"], done = timed(home, "fold", "--yes")
    told["links"], told["left"] = done["links"], len(done["not_folded"])
    told["disk_after"] = on_disk(home.rglob("*"))
    told["after"], _ = timed(home, "fold")
    digests = dict(zip(files, map_all(digest, files), strict=True))
    told["whole_after_fold"] = all(digests[path] == digests[unique[files[path].name]] for path in files)
    told["kinds"] = sorted({read_kind(path).kind for path in files})
    evict(dense)
    told["undo"], undone = timed(home, "fold", "--undo")
    told["restored"], told["copied"] = undone["restored"], undone["copied"]
    same = [look(path) == before[path] for path in files]
    again = map_all(digest, files)
    told["equal"] = sum(
        alike and again[n] == digests[path] for n, (path, alike) in enumerate(zip(files, same, strict=True))
    )
    shutil.rmtree(home)
    many = workplace / "many"
    make_many(many)
    names: dict[str, object] = {"files": MANY, "size": MANY_SIZE}
    names["first"], _ = timed(many, "fold")
    names["again"], _ = timed(many, "fold")
    names["yes"], _ = timed(many, "fold", "--yes")
    names["after"], _ = timed(many, "fold")
    names["undo"], _ = timed(many, "fold", "--undo")
    told["many"] = names
    return told


def make_box(home: Path) -> dict[Path, Model]:
    """Make the apps and their models; return the files."""
    for name in INSTALLED:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    files: dict[Path, Model] = {}
    for number, model in enumerate(models()):
        if model.name.endswith(".gguf"):
            first = home / TEXT_FOLDERS[0] / model.name
            model.write(first)
            name = f"sha256-{digest(first)}"
            places = [first, home / TEXT_FOLDERS[1] / model.name, home / OLLAMA / name, home / OLLAMA / f"{name}-old"]
        else:
            places = [home / folder / model.name for folder in IMAGE_FOLDERS]
            model.write(places[0])
        for copy, place in enumerate(places):
            if copy:
                place.parent.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "--sparse=always", "--reflink=never", places[0], place], check=True)
            place.chmod(_MODES[copy])
            os.utime(place, ns=(1_700_000_000_000_000_000 + number, 1_700_000_000_123_456_789 + 1000 * number + copy))
            files[place] = model
    os.sync()
    return files


def make_many(home: Path) -> None:
    """Make many small LoRAs, each four times; sparse, but for their header."""
    for name in INSTALLED[:2]:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    for number in range(MANY):
        path = home / f"ComfyUI/models/loras/{number % 200}/style-{number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = MANY_SIZE
        body = json.dumps({f"lora_unet_{number // SAME}.lora_up.weight": {
            "dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}).encode()  # fmt: skip
        with open(path, "xb") as file:
            file.write(struct.pack("<Q", len(body)) + body)
            file.truncate(8 + len(body) + size)
        os.utime(path, ns=(10**18, 10**18 + number))


def timed(home: Path, *words: str) -> tuple[dict[str, float], dict[str, object]]:
    """Run the command; return its seconds, CPU seconds and peak memory, and its result."""
    command = (*AS_USER, str(Path(sys.executable).with_name("preheat")), *words, "--json")
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PREHEAT_LIBRARY": str(home / "library")}
    with open(home / "said", "w+b") as out, open(home / "said.err", "w+b") as err:
        began = time.perf_counter()
        child = subprocess.Popen(command, env=env, cwd=home, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        last: dict[str, object] = json.loads(out.read().splitlines()[-1])
    if child.returncode:
        raise SystemExit(f"{' '.join(words)} failed: {last}")
    print(f"{' '.join(words)}: {seconds:.2f} s", flush=True)
    cpu = usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_s": cpu, "peak_rss": usage.ru_maxrss * 1024}, last


def look(path: Path) -> Look:
    """Return the name, mode, owner, group and mtime of a file."""
    found = path.lstat()
    return path.name, found.st_mode, found.st_uid, found.st_gid, found.st_mtime_ns


def on_disk(paths: Iterable[Path]) -> int:
    """Return the bytes on disk of files and folders, each inode once."""
    looks = [path.lstat() for path in paths]
    return sum({(one.st_dev, one.st_ino): one.st_blocks * 512 for one in looks}.values())


def digest(path: Path) -> str:
    """Return the sha256 of a file, by Python's own reader of files."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def map_all(act: Callable[[Path], str], paths: Iterable[Path]) -> list[str]:
    """Return the result for each path, on all cores; files of one inode are read once."""
    paths = list(paths)
    inodes = {path: path.stat().st_ino for path in paths}
    first = {inodes[path]: path for path in reversed(paths)}
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(first, pool.map(act, first.values()), strict=True))
    return [found[inodes[path]] for path in paths]


def evict(paths: Iterable[Path]) -> None:
    """Drop files from the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def sha256_rate(for_s: float = 2.0) -> tuple[float, float]:
    """Return how many bytes all cores hash from small buffers: in a second, and a CPU second."""

    def hashed(_: int) -> int:
        buffer, found, size, until = os.urandom(256 << 10), hashlib.sha256(), 0, time.perf_counter() + for_s
        while time.perf_counter() < until:
            found.update(buffer)
            size += len(buffer)
        return size

    with ThreadPoolExecutor(THREADS) as pool:
        began_s = time.process_time()
        size = sum(pool.map(hashed, range(THREADS)))
        return size / for_s, size / (time.process_time() - began_s)


def disk_rate(paths: Sequence[Path], most: int = 6_000_000_000) -> float:
    """Return how many bytes a second all cores read from the disk, one file each at a time."""
    chosen: list[Path] = []
    for path in paths:
        if sum(one.stat().st_size for one in chosen) < most:
            chosen.append(path)

    def read(path: Path) -> int:
        descriptor, buffer, size = os.open(path, os.O_RDONLY), bytearray(_STEP), 0
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := os.preadv(descriptor, [buffer], size):
            size += count
        os.close(descriptor)
        return size

    began = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        size = sum(pool.map(read, chosen))
    return size / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
