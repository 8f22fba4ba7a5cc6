"""What an import of a bundle takes, beside reading it and its sha256: `make bench-import`; all take turns in one run.

    python -m benchmarks.bench_import [--size BYTES] [--runs N] [--place DIR]

preheat also writes each file to the library and syncs it to disk, as `cp` and a sha256 of the copy do; reading alone
does not. The bundle is in the page cache for all of them.
"""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.bench_build import prepare
from benchmarks.document import fill
from benchmarks.machine import describe, load
from benchmarks.rates import bench, print_rates, rate

COMMAND = Path(__file__).parents[1] / ".venv/bin/preheat"
DOCUMENT = Path(__file__).parents[1] / "docs/bundles.md"
OPENING, END = "<!-- import: made by make bench-import -->", "<!-- end of import -->"
READ = "import hashlib, sys; hashlib.file_digest(open(sys.argv[1], 'rb', buffering=0), 'sha256')"
COPY = f"""
import os, shutil, sys
shutil.copyfile(sys.argv[1], sys.argv[2])
os.fsync(os.open(sys.argv[2], os.O_RDONLY))
{READ}
"""


def main() -> None:
    """Measure, print, store the results, and write them to the document."""
    bench("import", __doc__, 2_000_000_000, measure)


def measure(folder: Path, size: int, runs: int) -> dict[str, object]:
    """Export a bundle, and read it in each way in turn; return the rates in bytes/s."""
    task = prepare(folder, size)
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)}
    bundle, into = folder / "bundle.tar", folder / "into"
    export = [COMMAND, "export", task.recipe, "-o", bundle, "--library", task.library]
    subprocess.run(export, env=environ, check=True, capture_output=True)
    shutil.rmtree(task.library)
    sides: dict[str, list[object]] = {
        "preheat import": [COMMAND, "import", bundle, "--library", into],
        "read and sha256": [sys.executable, "-c", READ, bundle],
        "copy, sync and sha256": [sys.executable, "-c", COPY, bundle, into],
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    loaded = load()
    for _ in range(runs):
        for name, command in sides.items():
            shutil.rmtree(into, ignore_errors=True)
            into.unlink(missing_ok=True)
            os.sync()
            rates[name].append(rate(name, command, environ, folder, size))
    print_rates(rates)
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(fill(text, OPENING, END, table(rates, size, str(loaded))))
    return {"machine": describe(folder), "size": size, "runs": runs, "load": loaded, "rates": rates}


def table(rates: Mapping[str, Sequence[float]], size: int, loaded: str) -> str:
    """Return the rates as a table, with the ratio of ours to each of the others in the same turn."""
    ours, *_ = rates.values()
    rows = ["| | MB/s | import, beside it |", "|---|---|---|"]
    for name, some in rates.items():
        ratio = statistics.median(mine / its for mine, its in zip(ours, some, strict=True))
        rows.append(f"| {name} | {statistics.median(some) / 1e6:.0f} | {ratio:.2f}× |")
    spread = (
        f"{len(ours)} runs in turns, medians; {size / 1e9:.1f} GB in the page cache, load {loaded} at the beginning."
    )
    return "\n".join([*rows, "", spread]) + "\n"


if __name__ == "__main__":
    main()
