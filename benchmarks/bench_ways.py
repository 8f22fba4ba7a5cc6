"""Bench ways: what it costs to give one more machine the demo app's weights, by each way: docs/ways.md.

    python -m benchmarks.bench_ways

Copy by hand, an image of one's own, a shared library, a mirror, and each machine by itself from a far hub at 1 MB/s a
connection (imitated). All on this machine, so that networks between machines cost nothing here: what is compared is
the work, and what is left to come over the line. Writes results/ways.json, and the table into docs/ways.md; a minute.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import describe
from examples.speech_webui import demo

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/ways.md"
BEGIN, END = "<!-- measured: make bench-ways -->\n", "<!-- end -->\n"


def main() -> int:
    demo.WORK.mkdir(exist_ok=True)
    demo.install()
    with tempfile.TemporaryDirectory(dir=demo.WORK) as folder:
        rows = measure(Path(folder))
    machine = describe(demo.WORK)
    result = ROOT / "benchmarks/results/ways.json"
    result.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}{table(rows, machine)}{END}{after}", encoding="utf-8")
    print(table(rows, machine))
    return 0


def measure(work: Path) -> list[dict]:
    """Measure each way once; return the seconds, the bytes on disk, and the bytes over the distant line."""
    library, near = work / "library", work / "near"
    rows = []
    with demo.slow_hub() as far:
        rows.append(
            timed("each machine by itself, `preheat pull`", lambda: pull(library, far), lambda: size(library), 1)
        )
    # What a WebUI's own download lays out is taken for what people copy by hand.
    cache = work / "cache"
    view(cache, library, "--link=copy")
    copied = work / "copied"
    rows.append(
        timed(
            "copy by hand, `cp -r` of the cache",
            lambda: call("cp", "-r", str(cache), str(copied)),
            lambda: size(copied),
            0,
        )
    )
    shared = work / "view"
    rows.append(timed("a shared library, `preheat view`", lambda: view(shared, library), lambda: size(shared), 0))
    rows.append(timed("a mirror, `preheat pull` from it", lambda: from_mirror(library, near), lambda: size(near), 0))
    image = work / "image"
    build = ("build", str(demo.RECIPE), "--base=scratch", "--format=modelcar", f"--output=oci:{image}:weights")
    rows.append(
        timed(
            "a container image, `preheat build`",
            lambda: preheat(*build, f"--library={library}"),
            lambda: size(image),
            0,
        )
    )
    return rows


def timed(way: str, act: Callable[[], object], costs: Callable[[], int], line: int) -> dict:
    began = time.monotonic()
    act()
    return {"way": way, "seconds": time.monotonic() - began, "disk": costs(), "line": line}


def from_mirror(library: Path, near: Path) -> None:
    log = near.with_suffix(".jsonl")
    with open(log, "w") as out:
        words = [demo.PREHEAT, "mirror", "--json", "--listen=127.0.0.1:0", f"--library={library}"]
        mirror = subprocess.Popen(words, stdout=out)
    try:
        pull(near, str(demo.wait_for(log, mirror, "serving")["url"]))
    finally:
        mirror.terminate()
        mirror.wait()


def view(at: Path, library: Path, *words: str) -> None:
    """Place the app's files as its own download would."""
    for need in tomllib.loads(demo.RECIPE.read_text(encoding="utf-8"))["needs"]:
        files = [f"--files={pattern}" for pattern in need["files"]]
        preheat("view", "hf-cache", str(at), need["ref"], *files, *words, f"--library={library}")


def pull(library: Path, endpoint: str) -> None:
    preheat("pull", str(demo.RECIPE), f"--endpoint=hf={endpoint}", f"--library={library}")


def preheat(verb: str, *words: str) -> None:
    call(str(demo.PREHEAT), verb, "-q", *words)


def call(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}")


def size(folder: Path) -> int:
    """Return a folder's own disk usage in bytes, without files that have links elsewhere."""
    files = (path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(found.st_blocks * 512 for found in files if found.st_nlink == 1)


def table(rows: list[dict], machine: dict) -> str:
    lines = ["| way | takes, for one more machine | on its disk | over the far line |", "|---|---|---|---|"]
    for row in rows:
        far = "all of it" if row["line"] else "nothing"
        lines.append(f"| {row['way']} | {row['seconds']:.1f} s | {row['disk'] / 1e6:.1f} MB | {far} |")
    where = f"{machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, {machine['filesystem']}"
    lines += ["", f"Measured {machine['date']} on {where}, load {machine['load']}; 141.3 MB of weights.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    shutil.rmtree(demo.WORK / "ways", ignore_errors=True)
    sys.exit(main())
