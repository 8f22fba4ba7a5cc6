"""Bench fold files: what fold and undo cost for 2,000, 20,000 and 200,000 small files: CPU seconds and memory.

`python -m benchmarks.bench_fold_files [--folder DIR]`. Smaller files than any app's models, so that the work for each
file is measured, and not sha256; best in a folder on tmpfs, where fsync(2) costs nothing. Writes
benchmarks/results/fold_files.json and a table in docs/fold.md.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bench_fold import AS_USER, INSTALLED
from benchmarks.document import fill
from benchmarks.fold_report import PAGE
from benchmarks.machine import describe

from preheat.core.units import say_size

RESULTS = Path(__file__).parent / "results" / "fold_files.json"
COUNTS = (2_000, 20_000, 200_000)
STEPS = {
    "first plan": (),
    "second plan": (),
    "`--yes`": ("--yes",),
    "plan after it": (),
    "`--undo`": ("--undo",),
}
SIZE, SAME, A_FOLDER = 4096, 4, 100
_OPEN = "<!-- files: made by benchmarks/bench_fold_files.py from benchmarks/results/fold_files.json -->"
_SHUT = "<!-- end of files -->"
# The command, for which files of 4 KiB count as models.
_COMMAND = """
import preheat.verbs.folding.model_files as model_files
from preheat.cli.main import main
model_files.SMALLEST = 4096
main()
"""


def main() -> None:
    """Measure, and write the results."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--folder", type=Path, help="where to make the files (default: the folder for temporary files)")
    words.add_argument("--counts", type=int, nargs="*", default=COUNTS)
    words.add_argument("--table", action="store_true", help="only write the table again")
    options = words.parse_args()
    if not options.table:
        with tempfile.TemporaryDirectory(prefix="bench-fold-files-", dir=options.folder) as workplace:
            told: dict[str, Any] = {"machine": describe(Path(workplace)), "counts": {}}
            told["machine"]["filesystem"] = told["machine"]["filesystem"].split()[0]  # of mounts on one another
            for count in options.counts:
                told["counts"][str(count)] = measure(Path(workplace) / str(count), count)
        RESULTS.write_text(json.dumps(told, indent=1) + "\n")
    told = json.loads(RESULTS.read_text())
    PAGE.write_text(fill(PAGE.read_text(), _OPEN, _SHUT, "\n".join(_lines(told)) + "\n"))


def measure(home: Path, count: int) -> dict[str, dict[str, float]]:
    """Return the CPU seconds and the peak memory of each step."""
    make_files(home, count)
    time.sleep(0.3)  # the hashes of younger files are not remembered
    return {step: timed(home, *words) for step, words in STEPS.items()}


def make_files(home: Path, count: int) -> None:
    """Make small LoRAs of two apps, each four times."""
    for name in (*INSTALLED[:2], "Fooocus/fooocus_version.py"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    for number in range(count):
        app = ("ComfyUI", "Fooocus")[number % 2]
        path = home / f"{app}/models/loras/{number // A_FOLDER}/style-{number}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        body = json.dumps({f"lora_unet_{number // SAME}.lora_up.weight": {
            "dtype": "F16", "shape": [SIZE // 2], "data_offsets": [0, SIZE]}}).encode()  # fmt: skip
        path.write_bytes(struct.pack("<Q", len(body)) + body + bytes(SIZE))
        os.utime(path, ns=(10**18, 10**18 + number))


def timed(home: Path, *words: str) -> dict[str, float]:
    """Run the command; return its seconds, CPU seconds and peak memory in bytes."""
    command = (*AS_USER, sys.executable, "-c", _COMMAND, "fold", *words, "--json")
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PREHEAT_LIBRARY": str(home / "library")}
    with open(home / "said", "w+b") as out:
        began = time.perf_counter()
        child = subprocess.Popen(command, env=env, cwd=home, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        if child.returncode:
            raise SystemExit(f"fold {' '.join(words)} failed: {out.read()[-1000:]!r}")
    cpu_s = usage.ru_utime + usage.ru_stime
    print(f"fold {' '.join(words)}: {seconds:.1f} s, {cpu_s:.1f} CPU s, {usage.ru_maxrss >> 10} MiB", flush=True)
    return {"seconds": seconds, "cpu_s": cpu_s, "peak_rss": usage.ru_maxrss * 1024}


def _lines(told: dict[str, Any]) -> Iterator[str]:
    machine, counts = told["machine"], told["counts"]
    heads = [f"{int(count):,} files" for count in counts]
    yield f"| CPU time and memory | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for step in STEPS:
        cells = [f"{one[step]['cpu_s']:.1f} s, {say_size(int(one[step]['peak_rss']))}" for one in counts.values()]
        yield f"| {step} | {' | '.join(cells)} |"
    yield ""
    busy = ", a busy machine" if machine["load"] > machine["cores"] else ""
    yield f"`python -m benchmarks.bench_fold_files --folder /dev/shm`; files of 4 KiB, each {SAME} times, {A_FOLDER} in"
    yield f"a folder, which counted as models for this measurement. {machine['cpu']}, {machine['filesystem']}, Python"
    yield f"{machine['python']}; {machine['date']}, load {machine['load']}{busy}."


if __name__ == "__main__":
    main()
