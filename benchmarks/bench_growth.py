"""What each verb costs at three sizes, and how fast that grows: `make bench-growth`, or in pieces by the verbs' names.

    python -m benchmarks.bench_growth [VERB …] [--sizes 300,3000,30000] [--needs 10,100,1000] [--place DIR]

A verb of `--sizes` works on one repository of N small files; a verb of `--needs` on N repositories of one
file each. The cost is the CPU seconds of the command and its children, so that other work on the machine counts less;
the exponent is that of the last two sizes: 1 is as the work.
"""

import argparse
import hashlib
import http.client
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks.growth_report import RESULTS, write_report
from benchmarks.hub.repo import read_repo
from benchmarks.hub.serving import Hub, Manner
from benchmarks.machine import describe, load
from benchmarks.timed import run

from preheat.core.digest import sha256
from preheat.core.ref import Ref
from preheat.core.snapshot import File, Snapshot
from preheat.library.library import Library

COMMAND = str(Path(sys.executable).with_name("preheat"))
_HEADS = 2000
_WITHIN_S = 280.0


@dataclass(frozen=True, slots=True)
class Ground:
    """An empty folder, and the size of the work."""

    at: Path
    size: int

    @property
    def library(self) -> str:
        """The library's folder."""
        return str(self.at / "library")

    def folder(self) -> Path:
        """Make a folder of small files, in 50 folders."""
        for number in range(self.size):
            path = self.at / "model" / f"dir-{number % 50}" / f"part-{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"%d " % number * 20)
        return self.at / "model"

    def shelved(self, repositories: int, files: int) -> None:
        """Fill the library, and write a recipe that needs all of it."""
        library = Library(Path(self.library))
        library.prepare(0)
        needs = []
        for number in range(repositories):
            kept = []
            for part in range(files):
                data = b"%d %d " % (number, part) * 20
                file = File(f"dir-{part % 50}/part-{part}.txt", len(data), sha256(hashlib.sha256(data).hexdigest()))
                path = library.path(file.digest)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                library.seals.note(file.digest, path)
                kept.append(file)
            name = f"bench/m{number}"
            library.record(Snapshot(Ref.parse(name), hashlib.sha1(name.encode()).hexdigest(), tuple(kept)))
            needs.append(f'[[needs]]\nref = "{name}"\n')
        self.recipe("".join(needs))

    def recipe(self, needs: str) -> None:
        """Write a recipe."""
        (self.at / "preheat.toml").write_text(f'[app]\nname = "bench"\ncommand = ["true"]\n{needs}')

    @property
    def names(self) -> list[str]:
        """The repositories that `shelved` created."""
        return [f"bench/m{number}" for number in range(self.size)]

    def preheat(self, *words: str | Path) -> list[str]:
        """Return the arguments of a command on this library."""
        return [COMMAND, str(words[0]), "--library", self.library, *map(str, words[1:])]

    def first(self, *words: str | Path) -> None:
        """Run a command that is not measured."""
        subprocess.run(self.preheat(*words), cwd=self.at, check=True, capture_output=True)


Sides = Mapping[str, Sequence[str]]


def _run_files(ground: Ground) -> Sides:
    ground.shelved(1, ground.size)
    ground.first("run", "preheat.toml")
    return {"preheat": ground.preheat("run", "preheat.toml")}


def _view_files(ground: Ground) -> Sides:
    ground.shelved(1, ground.size)
    view = ground.preheat("view", "--link", "symlink", "hf-cache", ground.at / "view", "bench/m0")
    return {"preheat": view, "cp -rs": ["cp", "-rs", f"{ground.library}/blobs", str(ground.at / "linked")]}


def _verify_files(ground: Ground) -> Sides:
    ground.shelved(1, ground.size)
    sums = f"find {ground.library}/blobs -type f -print0 | xargs -0 sha256sum"
    return {"preheat": ground.preheat("verify"), "sha256sum": ["sh", "-c", sums]}


def _build_files(ground: Ground) -> Sides:
    ground.shelved(1, ground.size)
    image = ground.preheat("build", "preheat.toml", "--base", "scratch", "--output", f"oci:{ground.at}/image:bench")
    tar = f"tar -C {ground.library}/blobs -cf {ground.at}/blobs.tar . && sha256sum {ground.at}/blobs.tar"
    return {"preheat": image, "tar, sha256sum": ["sh", "-c", tar]}


def _adopt_files(ground: Ground) -> Sides:
    return {"preheat": ground.preheat("adopt", ground.folder(), "--as", "bench/model")}


def _lock_files(ground: Ground) -> Sides:
    ground.recipe(f'[[needs]]\nref = "file:{ground.folder()}"\n')
    return {"preheat": ground.preheat("lock", "preheat.toml")}


def _pull_files(ground: Ground, url: str) -> Sides:
    listed = ground.at / "urls"
    names = sorted(path.relative_to(ground.at / "model") for path in (ground.at / "model").rglob("*.txt"))
    lines = (f'url = "{url}/bench/model/resolve/main/{name}"\noutput = "{ground.at}/curl/{name}"\n' for name in names)
    listed.write_text("".join(lines))
    curl = ["curl", "-sZ", "--parallel-max", "50", "--create-dirs", "-K", str(listed)]
    return {"preheat": ground.preheat("pull", "bench/model", "--endpoint", f"hf={url}"), "curl -Z": curl}


def _pull_nothing_new(ground: Ground, url: str) -> Sides:
    words = ("pull", "bench/model", "--endpoint", f"hf={url}")
    ground.first(*words)
    return {"preheat": ground.preheat(*words)}


def _ls_needs(ground: Ground) -> Sides:
    ground.shelved(ground.size, 1)
    return {"preheat": ground.preheat("ls")}


def _run_needs(ground: Ground) -> Sides:
    ground.shelved(ground.size, 1)
    return {"preheat": ground.preheat("run", "preheat.toml")}


def _view_needs(ground: Ground) -> Sides:
    ground.shelved(ground.size, 1)
    return {"preheat": ground.preheat("view", "--link", "symlink", "hf-cache", ground.at / "view", *ground.names)}


def _prune_needs(ground: Ground) -> Sides:
    ground.shelved(ground.size, 1)
    ground.first("view", "--link", "symlink", "hf-cache", ground.at / "view", *ground.names)
    return {"preheat": ground.preheat("prune", "--yes")}


_FILES: dict[str, Callable[[Ground], Sides]] = {
    "lock": _lock_files,
    "run": _run_files,
    "view": _view_files,
    "verify": _verify_files,
    "build": _build_files,
    "adopt": _adopt_files,
}
_FROM_A_HUB: dict[str, Callable[[Ground, str], Sides]] = {"pull": _pull_files, "pull-again": _pull_nothing_new}
_NEEDS: dict[str, Callable[[Ground], Sides]] = {
    "run-needs": _run_needs,
    "view-needs": _view_needs,
    "prune-needs": _prune_needs,
    "ls-needs": _ls_needs,
}
_MIRROR = "mirror-head"


def measure(verb: str, ground: Ground) -> dict[str, dict[str, float]]:
    """Return what a verb and its peers cost at one size."""
    if verb == _MIRROR:
        return {"preheat": _heads(ground)}
    with _hub(ground) if verb in _FROM_A_HUB else nullcontext("") as url:
        sides = _FROM_A_HUB[verb](ground, url) if verb in _FROM_A_HUB else (_FILES | _NEEDS)[verb](ground)
        figures = {}
        for name, command in sides.items():
            os.sync()
            os.chdir(ground.at)
            spent = run(command, os.environ | {"HOME": str(ground.at)}, ground.at / "said", _WITHIN_S)
            if spent.status:
                raise SystemExit(f"{verb}, {name}: {spent.said[-500:]}")
            figures[name] = {
                "seconds": round(spent.seconds, 3),
                "cpu_s": round(spent.cpu_s, 3),
                "peak_mb": round(spent.peak_rss / 1e6),
            }
        return figures


@contextmanager
def _hub(ground: Ground) -> Iterator[str]:
    repo = read_repo("bench/model", ground.folder())
    with Hub({"bench/model": repo}, Manner()) as hub:
        yield hub.url


def _heads(ground: Ground) -> dict[str, float]:
    """Return what 2,000 HEAD requests for files of one repository cost a mirror."""
    ground.shelved(1, ground.size)
    command = ground.preheat("mirror", "--listen", "127.0.0.1:0", "--json")
    said = ground.at / "said"
    with open(said, "w") as out:  # a file: each answer is an event, which would fill a pipe
        mirror = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
    try:
        while "\n" not in (told := said.read_text()):
            time.sleep(0.05)
        host = str(json.loads(told.splitlines()[0])["url"]).removeprefix("http://")
        client = http.client.HTTPConnection(host)

        def head(number: int) -> None:
            client.request("HEAD", f"/bench/m0/resolve/main/dir-{number % 50}/part-{number}.txt")
            answer = client.getresponse()
            answer.read()
            assert answer.status == 200, answer.status

        head(0)
        before, began = _cpu_s(mirror.pid), time.monotonic()
        for turn in range(_HEADS):
            head(turn * 7919 % ground.size)
        seconds, cpu_s = time.monotonic() - began, _cpu_s(mirror.pid) - before
        peak = next(line for line in Path(f"/proc/{mirror.pid}/status").read_text().splitlines() if "VmHWM" in line)
        return {"seconds": round(seconds, 3), "cpu_s": round(cpu_s, 3), "peak_mb": round(int(peak.split()[1]) / 1000)}
    finally:
        mirror.terminate()
        mirror.wait()


def _cpu_s(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def exponent(costs: Sequence[tuple[int, float]]) -> float:
    """Return the exponent of growth between the last two sizes."""
    (small, before), (large, after) = costs[-2:]
    return round(math.log(max(after, 0.01) / max(before, 0.01)) / math.log(large / small), 2)


def main() -> None:
    verbs = [*_FILES, *_FROM_A_HUB, _MIRROR, *_NEEDS]
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("verbs", nargs="*", default=verbs, metavar="VERB", help=", ".join(verbs))
    words.add_argument("--sizes", default="300,3000,30000")
    words.add_argument("--needs", default="10,100,1000")
    words.add_argument("--place", type=Path)
    options = words.parse_args()
    for verb in options.verbs:
        sizes = [int(size) for size in (options.needs if verb in _NEEDS else options.sizes).split(",")]
        row: dict[str, dict[str, dict[str, float]]] = {}
        before = load()
        for size in sizes:
            folder = Path(tempfile.mkdtemp(prefix="bench-growth-", dir=options.place))
            try:
                for name, figures in measure(verb, Ground(folder, size)).items():
                    row.setdefault(name, {})[str(size)] = figures
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        growth = {
            name: exponent([(int(size), one["cpu_s"]) for size, one in all_.items()]) for name, all_ in row.items()
        }
        machine = describe(options.place or Path(tempfile.gettempdir())) | {"load": max(before, load())}
        kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        kept[verb] = {"unit": "repositories" if verb in _NEEDS else "files", "sides": row, "exponent": growth}
        kept[verb]["machine"] = machine
        print(json.dumps({verb: kept[verb]["sides"], "exponent": growth}), flush=True)
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    write_report()


if __name__ == "__main__":
    main()
