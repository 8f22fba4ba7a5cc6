"""What upkeep of a library costs: `make bench-library`; medians, spreads, and the machine's own rates in the same run.

    python -m benchmarks.bench_library [share] [verify] [ls] [adopt] [--size BYTES] [--runs N] [--place DIR]

`share` pulls a version that has 90 % of another; `verify` is held against sha256 of memory on all cores, and, with the
page cache dropped (root), against reading the same files; for `adopt`, from a dropped page cache too, the kernel counts
what is read from disk and written there.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import describe

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library

COMMAND = Path(sys.executable).with_name("preheat")
RESULTS = Path(__file__).parent / "results"
Figures = dict[str, object]


def preheat(*words: str | Path) -> dict[str, object]:
    """Run the command until it ends; return the last JSON object."""
    done = subprocess.run([COMMAND, *words, "--json"], capture_output=True, text=True, check=True)
    last: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return last


def spread(values: list[float], digits: int = 3) -> dict[str, float]:
    """Format values as median and extremes."""
    named = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, digits) for name, value in named.items()}


def model(folder: Path, size: int, files: int) -> None:
    """Make a folder of random files, of `size` bytes in all."""
    folder.mkdir(parents=True)
    for number in range(files):
        with open(folder / f"part-{number:03}.bin", "wb") as file:
            for start in range(0, size // files, 16 << 20):
                file.write(os.urandom(min(16 << 20, size // files - start)))
    os.sync()


@contextmanager
def place(at: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="bench-library-", dir=at))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def share(folder: Path, size: int, runs: int) -> Figures:
    """Pull a version that shares 90 % of its files with one that is here."""
    model(folder / "one", size, 20)
    shutil.copytree(folder / "one", folder / "two")
    for name in ("part-000.bin", "part-001.bin"):
        (folder / "two" / name).write_bytes(os.urandom(size // 20))
    fetched = []
    for _ in range(runs):
        shutil.rmtree(folder / "library", ignore_errors=True)
        preheat("pull", f"file:{folder}/one", "--library", folder / "library")
        fetched.append(int(str(preheat("pull", f"file:{folder}/two", "--library", folder / "library")["fetched"])))
    return {"size": size, "fetched, part of it": spread([one / size for one in fetched], 4)}


def verify(folder: Path, size: int, runs: int) -> Figures:
    """Verify from the page cache and from the disk, in turns with sha256 from memory and with plain reading."""
    model(folder / "model", size, 10)
    library = folder / "library"
    preheat("adopt", folder / "model", "--as", "bench/model", "--library", library)
    blobs = [path for path in (library / "blobs/sha256").rglob("*") if path.is_file()]
    rates: dict[str, list[float]] = {"sha256 of memory": [], "verify, cached": []}
    for _ in range(runs):
        rates["sha256 of memory"].append(_hash_rate())
        rates["verify, cached"].append(_told_rate(preheat("verify", "--library", library)))
    figures: Figures = {f"{name}, MB/s": spread([rate / 1e6 for rate in all_], 0) for name, all_ in rates.items()}
    ratios = [mine / floor for mine, floor in zip(*reversed(rates.values()), strict=True)]
    figures["verify, cached : sha256 on all cores"] = spread(ratios)
    if not _dropped():
        return figures | {"cold": "not measured: only root can drop the page cache"}
    cold: dict[str, list[float]] = {"sequential read": [], "verify, cold": []}
    for _ in range(runs):
        _dropped()
        cold["sequential read"].append(_read_rate(blobs))
        _dropped()
        cold["verify, cold"].append(_told_rate(preheat("verify", "--library", library)))
    figures |= {f"{name}, MB/s": spread([rate / 1e6 for rate in all_], 0) for name, all_ in cold.items()}
    figures["verify, cold : sequential read"] = spread(
        [mine / disk for mine, disk in zip(*reversed(cold.values()), strict=True)]
    )
    return figures


def _told_rate(told: dict[str, object]) -> float:
    return float(str(told["size"])) / float(str(told["seconds"]))


def _on_all_cores(work: Callable[[int], int]) -> float:
    """Return the bytes per second of `work`, which gets a worker's number and returns the bytes that it processed."""
    cores = len(os.sched_getaffinity(0))
    done = [0] * cores

    def one(number: int) -> None:
        done[number] = work(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(cores)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - began)


def _hash_rate() -> float:
    block = os.urandom(16 << 20)

    def hash_it(_: int) -> int:
        hashing = hashlib.sha256()
        for _ in range(96):
            hashing.update(block)
        return 96 * len(block)

    return _on_all_cores(hash_it)


def _read_rate(paths: list[Path]) -> float:
    """Read as dd does: one file after the other, 1 MiB at a time."""
    buffer = memoryview(bytearray(1 << 20))
    size, began = 0, time.monotonic()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                size += count
    return size / (time.monotonic() - began)


def _dropped() -> bool:
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def ls(folder: Path, runs: int) -> Figures:
    """List 1,000 models of 100 files, a third of which ten models share."""
    library = Library(folder / "library")
    library.prepare(0)
    for number in range(1000):
        files = []
        for place in range(100):
            name = f"{number if place > 30 else number // 10} {place}"
            files.append(File(f"part/{place}.bin", 1000 + place, sha256(hashlib.sha256(name.encode()).hexdigest())))
            path = library.path(files[-1].digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        library.record(Snapshot(Ref.parse(f"o{number % 50}/m{number}"), f"{number:040x}", tuple(files)))
    times = []
    for _ in range(runs):
        began = time.monotonic()
        told = subprocess.run([COMMAND, "ls", "--library", library.root], capture_output=True, check=True, text=True)
        times.append(time.monotonic() - began)
        assert len(told.stdout.splitlines()) == 1002
    return {"ls of 1,000 models and 100,000 files, s": spread(times)}


def adopt(folder: Path, size: int, runs: int) -> Figures:
    """Adopt a cache of Hugging Face's on the same filesystem, and have the kernel count what is read and written."""
    repo = folder / "hub/models--bench--model"
    model(repo / "blobs", size, 10)
    snapshot = repo / "snapshots" / ("01" * 20)
    snapshot.mkdir(parents=True)
    for path in list((repo / "blobs").iterdir()):
        with open(path, "rb") as file:
            name = hashlib.file_digest(file, "sha256").hexdigest()
        path.rename(repo / "blobs" / name)
        (snapshot / path.name).symlink_to(f"../../blobs/{name}")
    rows: dict[str, list[float]] = {"s": [], "bytes read from disk : size": [], "bytes written : size": []}
    for _ in range(runs):
        library = folder / "library"
        shutil.rmtree(library, ignore_errors=True)
        if not _dropped():
            return {
                "adopt": "not measured: only root can drop the page cache, and what is mapped from it is not counted"
            }
        before, began = _counted(), time.monotonic()
        told = preheat("adopt", folder / "hub", "--library", library)
        rows["s"].append(time.monotonic() - began)
        assert (told["size"], told["copied"]) == (size // 10 * 10, 0)
        read, written = (after - then for after, then in zip(_counted(), before, strict=True))
        rows["bytes read from disk : size"].append(read / size)
        rows["bytes written : size"].append(written / size)
    return {"size": size, **{name: spread(values, 4) for name, values in rows.items()}}


def _counted() -> tuple[int, int]:
    """Return the bytes that ended children of this process have read from and written to disks: proc(5), io."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(told["read_bytes"]), int(told["write_bytes"])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("what", nargs="*", default=["share", "verify", "ls", "adopt"])
    words.add_argument("--size", type=int, default=5_000_000_000)
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--place", type=Path)
    options = words.parse_args()
    figures: dict[str, object] = {"machine": describe(options.place or Path(tempfile.gettempdir()))}
    for what in options.what:
        with place(options.place) as folder:
            match what:
                case "share":
                    figures[what] = share(folder, min(options.size, 1_000_000_000), options.runs)
                case "verify":
                    figures[what] = verify(folder, options.size, options.runs)
                case "ls":
                    figures[what] = ls(folder, options.runs)
                case "adopt":
                    figures[what] = adopt(folder, options.size, options.runs)
                case _:
                    words.error(f"{what} is not measured")
        print(json.dumps({what: figures[what]}, indent=1), flush=True)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "library.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(kept | figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
