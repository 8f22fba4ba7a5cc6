"""What a pull from an image in a registry takes, beside skopeo: `make bench-registry`; both take turns in the same run.

    python -m benchmarks.bench_registry [--size BYTES] [--runs N] [--place DIR]

The registry is docker-registry, over TLS, on the same machine. preheat verifies each file and syncs it to disk; skopeo
verifies each layer.
"""

import shutil
import subprocess
from pathlib import Path

from benchmarks.bench_build import prepare
from benchmarks.machine import describe
from benchmarks.rates import bench, print_rates, rate
from tests.authority import authority
from tests.outsiders.test_images import registry

COMMAND = Path(__file__).parents[1] / ".venv/bin/preheat"


def main() -> None:
    """Measure, print and store the results."""
    bench("registry", __doc__, 2_000_000_000, measure)


def measure(folder: Path, size: int, runs: int) -> dict[str, object]:
    """Push an image, and take its files with each program in turn; return the rates in bytes/s."""
    task = prepare(folder, size)
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **authority().environ}
    with registry(folder / "registry") as host:
        image = f"docker://{host}/bench/weights:1"
        build = [COMMAND, "build", task.recipe, "--base", "scratch", "--output", image, "--library", task.library]
        subprocess.run(build, env=environ, check=True, capture_output=True)
        subprocess.run([COMMAND, "lock", task.recipe], env=environ, check=True, capture_output=True)
        into = folder / "taken"
        pull = [COMMAND, "pull", f"file:{task.weights}", "--from", image, "--library", into, "--no-adopt"]
        sides = {
            "preheat pull --from": pull,
            "skopeo copy, to dir:": ["skopeo", "--insecure-policy", "copy", image, f"dir:{into}"],
            "skopeo copy, to oci:": ["skopeo", "--insecure-policy", "copy", image, f"oci:{into}:1"],
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(runs):
            for name, command in sides.items():
                shutil.rmtree(into, ignore_errors=True)
                rates[name].append(rate(name, command, environ, folder, size))
    version = subprocess.run(["skopeo", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{size / 1e9:.1f} GB, medians of {runs}, lowest and highest in brackets; {version}")
    print_rates(rates)
    return {"machine": describe(folder), "size": size, "runs": runs, "skopeo": version, "rates": rates}


if __name__ == "__main__":
    main()
