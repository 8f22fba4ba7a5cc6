"""What building an image costs: `make bench-build`; medians and spreads, peers taking turns in the same run.

    python -m benchmarks.bench_build [--size BYTES] [--runs N] [--place DIR] [--only NAME …]

What is written to disk is counted by the kernel, for the whole disk: run it on a quiet machine. Root for docker,
podman, buildah and the filesystem with reflinks.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.corpus import fill
from benchmarks.image_builders import COMMAND, Builder, Task, builders, dockerd, forget, preheat_words, registry
from benchmarks.machine import describe, load
from benchmarks.reflinks import xfs
from benchmarks.timed import Spent, run

RESULTS = Path(__file__).parent / "results" / "build.json"
RECIPE = '[app]\nname = "bench"\n[[needs]]\nref = "file:{weights}"\nview = "flat"\nat = "/models"\n'
_FILES = 10
_SLOW_RUNS = 2
_QUIET_S = 2.0  # a disk that was just given gigabytes to write or to free is slow for a moment
Figures = dict[str, object]


def main() -> None:
    """Measure, print and store the results."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--size", type=int, default=2_000_000_000)
    words.add_argument("--runs", type=int, default=3)
    words.add_argument("--place", type=Path)
    words.add_argument("--only", nargs="*", default=[])
    words.add_argument("--keep", type=Path, default=RESULTS, help="where the figures go")
    options = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-build-", dir=options.place))
    try:
        figures = measure(folder, options.size, options.runs, options.only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    options.keep.parent.mkdir(exist_ok=True)
    options.keep.write_text(json.dumps(figures, indent=1) + "\n")


def measure(folder: Path, size: int, runs: int, only: list[str]) -> Figures:
    """Measure all rows."""
    task = prepare(folder, size)
    figures: Figures = {"machine": describe(folder), "size": size, "files": _FILES}
    # The kernel never reports a program's peak below that of its parent.
    figures["least_peak_rss"] = run(["true"], os.environ, folder / "said.txt", 60).peak_rss
    with dockerd(folder / "docker") as docker:
        sides = [one for one in builders(docker) if not only or one.name in only]
        figures["builds"] = turns(folder, task, sides, runs)
    if not only or "preheat build" in only:
        figures["rebuild"] = rebuild(folder, task, runs)
        figures["push"] = push(folder, task, size)
        figures["reflinks"] = reflinks(folder, size)
        figures["digests"] = digests(folder)
    return figures


def prepare(folder: Path, size: int) -> Task:
    """Make the weights and a library that has them."""
    weights = folder / "weights"
    weights.mkdir(parents=True)
    for number in range(_FILES):
        fill(weights / f"part-{number:02}.safetensors", size // _FILES)
    (weights / "config.json").write_text("{}\n")
    (folder / "preheat.toml").write_text(RECIPE.format(weights=weights))
    task = Task(weights, folder / "library", folder / "preheat.toml", folder / "into")
    told("pull", f"file:{weights}", "--library", task.library)
    return task


def turns(folder: Path, task: Task, sides: list[Builder], runs: int) -> list[Figures]:
    """Let the builders build one after the other, each into an empty folder; return medians and spreads."""
    came: dict[str, list[Figures]] = {}
    here = [side for side in sides if side.here()]
    for side in sides:
        if side not in here:
            print(f"  {side.name:26} is not here", flush=True)
    for turn in range(runs):
        for side in here:
            slow = side.name not in ("floor", "preheat build", "umoci insert")
            if turn < (min(runs, _SLOW_RUNS) if slow else runs):
                came.setdefault(side.name, []).append(once(folder, task, side))
    return [summary(name, one) for name, one in came.items()]


def once(folder: Path, task: Task, side: Builder) -> Figures:
    """Build once."""
    empty(task.into)
    side.before(task)
    into_memory(task.weights)
    into_memory(task.library)
    commands = side.commands(task)
    disk = Disk(task.into)
    spents: list[Spent] = []
    begun = time.monotonic()
    for command in commands:
        spents.append(run(command, os.environ, folder / "said.txt", 600))
        if spents[-1].status:
            break
    seconds = time.monotonic() - begun
    os.sync()
    on_disk_s = time.monotonic() - begun
    written, peak = disk.written(), max(one.peak_rss for one in spents)
    figures: Figures = {
        "seconds": round(seconds, 3),
        "on_disk_s": round(on_disk_s, 3),
        "written": written,
        "cpu_s": round(sum(one.cpu_s for one in spents), 3),
        "peak_rss": peak,
        "load": load(),
        "failed": spents[-1].said[-300:] if spents[-1].status else "",
    }
    print(
        f"  {side.name:26} {seconds:7.2f} s, {on_disk_s:7.2f} s until on disk  {written / 1e9:5.2f} GB written"
        f"  {peak / 1e6:5.0f} MB  {figures['failed']}",
        flush=True,
    )
    return figures


def summary(name: str, came: list[Figures]) -> Figures:
    """Return medians and spreads of the successful runs."""
    good = [one for one in came if not one["failed"]]
    said: Figures = {"name": name, "n": len(good), "failed": len(came) - len(good)}
    for key in ("seconds", "on_disk_s", "written", "cpu_s", "peak_rss"):
        if good:
            said[key] = spread([float(str(one[key])) for one in good])
    return said


def rebuild(folder: Path, task: Task, runs: int) -> Figures:
    """Build again with nothing changed, into the same layout."""
    empty(task.into)
    run(preheat_words(task), os.environ, folder / "said.txt", 600)
    seconds = [run(preheat_words(task), os.environ, folder / "said.txt", 600).seconds for _ in range(max(runs, 3))]
    print(f"  again, nothing changed     {statistics.median(seconds):7.2f} s", flush=True)
    return {"seconds": spread(seconds)}


def push(folder: Path, task: Task, size: int) -> Figures:
    """Push one version to a registry, then the next, of which nine files in ten are the same."""
    with registry(folder / "registry") as host:
        if host is None:
            print("  docker-registry is not here", flush=True)
            return {"left_out": "docker-registry is not here"}
        words = ["--base", "scratch", "--library", str(task.library)]
        begun = time.monotonic()
        told("build", task.recipe, *words, "--output", f"docker://{host}/bench:v1")
        first_s = time.monotonic() - begun
        held = used(folder / "registry/data")
        following = folder / "next"
        shutil.copytree(task.weights, following, copy_function=os.link)
        changed = following / "part-00.safetensors"
        changed.unlink()
        fill(changed, size // _FILES)
        recipe = folder / "next.toml"
        recipe.write_text(RECIPE.format(weights=following))
        told("pull", f"file:{following}", "--library", task.library)
        begun = time.monotonic()
        last = told("build", recipe, *words, "--output", f"docker://{host}/bench:v2")
        second_s = time.monotonic() - begun
        moved = used(folder / "registry/data") - held
        print(f"  push {first_s:.2f} s; the next version {second_s:.2f} s, {moved / size:.4f} of it moved", flush=True)
        return {"first_s": first_s, "second_s": second_s, "moved": moved, "of": size, "took": last["took"]}


def reflinks(folder: Path, size: int) -> Figures:
    """Build on a filesystem that shares extents, library and layout on it."""
    with xfs(folder, 4 * size) as at:
        if at is None:
            print("  no filesystem with reflinks can be mounted here", flush=True)
            return {"left_out": "no filesystem with reflinks can be mounted here"}
        task = prepare(at / "work", size)
        figures: Figures = {}
        for name in ("first", "known"):
            empty(task.into)
            disk = Disk(task.into)
            spent = run(preheat_words(task), os.environ, folder / "said.txt", 600)
            os.sync()
            figures[name] = {"seconds": spent.seconds, "written": disk.written(), "peak_rss": spent.peak_rss}
            print(
                f"  with reflinks, {name:11} {spent.seconds:7.2f} s  {disk.written() / size:.4f} of it written",
                flush=True,
            )
        return figures


def digests(folder: Path) -> Figures:
    """Build the same small image under other conditions; all must have one digest."""
    task = prepare(folder / "small", 100_000_000)
    found: dict[str, str] = {}

    def build(name: str, inside: list[str], library: Path, environ: dict[str, str]) -> None:
        output = folder / f"circumstance-{len(found)}"
        words = [str(COMMAND), "build", str(task.recipe), "--base", "scratch", "--library", str(library), "--json"]
        folder.chmod(0o777)  # another user goes through it
        done = subprocess.run(
            [*inside, *words, "--output", f"oci:{output}:v1"],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
        )
        last = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
        found[name] = str(last.get("digest") or done.stdout[-300:] + done.stderr[-300:])
        shutil.rmtree(output, ignore_errors=True)

    build("as it is", [], task.library, {})
    build("umask 077", ["sh", "-c", 'umask 077; exec "$@"', "sh"], task.library, {})
    build("TZ", [], task.library, {"TZ": "Pacific/Auckland"})
    build("locale", [], task.library, {"LC_ALL": "C", "LANG": "C"})
    forget(task)
    build("hashed anew", [], task.library, {})
    if os.geteuid() == 0 and shutil.which("setpriv"):
        shutil.rmtree(folder / "theirs", ignore_errors=True)
        shutil.copytree(task.library, folder / "theirs")
        subprocess.run(["chown", "-R", "65534:65534", str(folder / "theirs")], check=True)
        build("user", ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], folder / "theirs", {"HOME": "/"})
    with xfs(folder, 1_200_000_000) as at:
        if at is not None:
            shutil.copytree(task.library, at / "library", copy_function=shutil.copy)
            build("filesystem", [], at / "library", {})
    names = sorted((path.name for path in task.weights.iterdir()), reverse=True)
    turned = folder / "turned"
    turned.mkdir()
    told("pull", f"file:{task.weights}", *(word for name in names for word in ("--files", name)), "--library", turned)
    build("folder order", [], turned, {})
    same = len(set(found.values())) == 1
    print(f"  {len(found)} circumstances, {'one digest' if same else found}", flush=True)
    return {"circumstances": list(found), "same": same, "found": found}


class Disk:
    """The bytes written to a folder's disk since this object was created."""

    def __init__(self, folder: Path) -> None:
        device = folder.stat().st_dev
        self._stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        os.sync()
        self._before = self._sectors()

    def written(self) -> int:
        """Return the bytes written."""
        return (self._sectors() - self._before) * 512

    def _sectors(self) -> int:
        return int(self._stat.read_text().split()[6]) if self._stat.exists() else 0


def told(*words: str | Path) -> dict[str, object]:
    """Run preheat until it ends; return the last JSON object."""
    done = subprocess.run([COMMAND, *words, "--json"], capture_output=True, text=True, check=False)
    last: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    if done.returncode:
        sys.exit(f"{words}: {last}")
    return last


def empty(folder: Path) -> None:
    """Empty a folder, and wait until the disk is idle."""
    subprocess.run(["rm", "-rf", str(folder)], check=False)
    folder.mkdir(parents=True)
    os.sync()
    time.sleep(_QUIET_S)


def into_memory(folder: Path) -> None:
    """Read all files below a folder into the page cache, from which another builder's writes may have evicted them."""
    buffer = bytearray(1 << 20)
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def used(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def spread(values: list[float]) -> dict[str, float]:
    """Format values as median and extremes."""
    named = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, 3) for name, value in named.items()}


if __name__ == "__main__":
    main()
