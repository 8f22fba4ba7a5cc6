"""Bench views: how long placing a model takes, and how many bytes it costs, for each layout and each kind of link.

`python -m benchmarks.bench_views [--size 5G] [--files 40] [--rounds 5]`. The model's bytes are random and really on
disk. Reflinks are measured on an XFS of its own, which needs root and mkfs.xfs, and 1.5 GB there. What is timed is the
whole `place` of a layout, in this process; and once the whole command, as a person starts it.
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.reflinks import xfs

from preheat.cli.typed_units import read_size
from preheat.core.digest import sha256
from preheat.core.errors import LibraryError
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.core.units import say_size
from preheat.library.library import Library
from preheat.views.layouts.flat import Flat
from preheat.views.layouts.huggingface import HuggingFaceCache
from preheat.views.layouts.local_dir import LocalDir
from preheat.views.layouts.modelscope import ModelScopeCache
from preheat.views.layouts.modelscope_old import OldModelScopeCache
from preheat.views.layouts.torch_hub import TorchHub
from preheat.views.layouts.whisper import Whisper
from preheat.views.links import WAYS
from preheat.views.placer import place
from preheat.views.view_protocol import View

Layout = Callable[[Sequence[str]], View]
LAYOUTS: tuple[Layout, ...] = (HuggingFaceCache, LocalDir, ModelScopeCache, OldModelScopeCache, Flat, Whisper, TorchHub)
COMMIT = "0" * 40
_STEP = 1 << 20


def fill(library: Library, size: int, files: int) -> Snapshot:
    """Store a model of random bytes in the library."""
    kept = []
    library.prepare(size)
    for number in range(files):
        aside = library.root / "aside"
        naming, left = hashlib.sha256(), size // files
        with open(aside, "wb") as file:
            while left:
                data = os.urandom(min(left, _STEP))
                naming.update(data)
                file.write(data)
                left -= len(data)
            file.flush()
            os.fsync(file.fileno())
        digest = sha256(naming.hexdigest())
        path = library.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.chmod(0o444)
        aside.rename(path)
        kept.append(File(f"part-{number // 10}/weights-{number:05}.pt", size // files, digest))
    snapshot = Snapshot(Ref.parse("hf:acme/big"), COMMIT, tuple(kept))
    library.record(snapshot)
    return snapshot


def used(folder: Path, library: Path) -> int:
    """Return a view's disk usage in bytes, without the library's files that it links to."""
    mine = {(path.lstat().st_dev, path.lstat().st_ino) for path in (library / "blobs").rglob("*")}
    seen = {(s.st_dev, s.st_ino): s for path in folder.rglob("*") for s in [path.lstat()] if path.is_file()}
    return sum(s.st_blocks * 512 for inode, s in seen.items() if inode not in mine)


def measure(
    library: Library, snapshot: Snapshot, layout: Layout, link: str, at: Path, rounds: int
) -> tuple[float, ...]:
    """Place the model from scratch in each round, and again; return median seconds of both, and the bytes on disk."""
    first, again, cost = [], [], 0
    for _ in range(rounds):
        view = layout(WAYS[link])
        before = os.statvfs(at.parent)
        began = time.perf_counter()
        place(view, snapshot, library.path, at, whole=True)
        first.append(time.perf_counter() - began)
        began = time.perf_counter()
        place(view, snapshot, library.path, at, whole=True)
        again.append(time.perf_counter() - began)
        if link == "reflink":
            # Shared extents are only seen from the filesystem, which is nobody else's here.
            os.sync()
            cost = (before.f_bfree - os.statvfs(at.parent).f_bfree) * before.f_frsize
        else:
            cost = used(at, library.root)
        shutil.rmtree(at)
    return statistics.median(first), statistics.median(again), cost


def row(layout: Layout, link: str, figures: tuple[float, ...]) -> None:
    """Print one line of the table."""
    first, again, cost = figures
    kind = layout(WAYS[link]).kind
    print(f"| `{kind}` | {link} | {first * 1000:.1f} ms | {again * 1000:.1f} ms | {say_size(cost)} |", flush=True)


def main() -> None:
    """Print a table in Markdown."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--size", default="5G")
    words.add_argument("--files", type=int, default=40)
    words.add_argument("--rounds", type=int, default=5)
    options = words.parse_args()
    size = read_size(options.size)
    with tempfile.TemporaryDirectory(prefix="bench-views-") as workplace:
        folder = Path(workplace)
        library = Library(folder / "library")
        snapshot = fill(library, size, options.files)
        print(f"{say_size(snapshot.size)} of random bytes in {options.files} files; median of {options.rounds}.\n")
        print("| view | link | placed | placed again | bytes taken |\n|---|---|---|---|---|")
        for layout in LAYOUTS:
            for link in ("hardlink", "symlink"):
                row(layout, link, measure(library, snapshot, layout, link, folder / "at", options.rounds))
        row(Flat, "copy", measure(library, snapshot, Flat, "copy", folder / "at", 1))
        command = (str(Path(sys.executable).with_name("preheat")), "view", "hf-cache", str(folder / "at"), "acme/big")
        began = time.perf_counter()
        subprocess.run([*command, "--library", str(library.root)], check=True, capture_output=True)
        print(f"\n`preheat view hf-cache DIR acme/big`, start of Python and all: {time.perf_counter() - began:.2f} s")
        shutil.rmtree(library.root)
        with xfs(folder, min(size, 1_500_000_000)) as at:
            if at is None:
                print("\nNo XFS can be made and mounted here, so reflinks are not measured.")
                return
            library = Library(at / "library")
            snapshot = fill(library, min(size, 1_500_000_000), options.files)
            print(f"\nOn XFS, {say_size(snapshot.size)} in {options.files} files:\n")
            print("| view | link | placed | placed again | bytes taken |\n|---|---|---|---|---|")
            for layout in (HuggingFaceCache, Flat):
                try:
                    row(layout, "reflink", measure(library, snapshot, layout, "reflink", at / "at", options.rounds))
                except LibraryError as error:
                    print(error.message)


if __name__ == "__main__":
    main()
