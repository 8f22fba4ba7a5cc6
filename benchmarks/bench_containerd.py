"""What containerd writes to store and unpack an image with weights: `make bench-containerd`; as root, a minute.

    python -m benchmarks.bench_containerd [--size BYTES] [--runs N] [--place DIR]

The image is from `preheat build`, in docker-registry on the same machine. Bytes written are those of /proc/PID/io, that
is what containerd has dirtied in the page cache; disk usage is that of its folder.
"""

import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from benchmarks.bench_build import prepare
from benchmarks.machine import describe
from benchmarks.rates import bench
from tests.authority import authority
from tests.outsiders.test_images import containerd, registry

COMMAND = Path(__file__).parents[1] / ".venv/bin/preheat"


def main() -> None:
    """Measure, print and store the results."""
    bench("containerd", __doc__, 1_000_000_000, measure)


def measure(folder: Path, size: int, runs: int) -> dict[str, object]:
    """Fetch the image's layers, then unpack them; return the bytes written and the seconds of each step."""
    task = prepare(folder, size)
    environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), **authority().environ}
    fetched: list[tuple[float, int]] = []
    unpacked: list[tuple[float, int]] = []
    used = 0
    with registry(folder / "registry", tls=False) as host:
        image = f"{host}/bench/weights:1"
        build = [COMMAND, "build", task.recipe, "--base", "scratch", "--output", f"docker://{image}"]
        subprocess.run([*build, "--library", task.library], env=environ, check=True, capture_output=True)
        for _ in range(runs):
            at = folder / "containerd"
            with containerd(at) as ctr:
                pid = _pid(at)
                for steps, words in ((fetched, ["content", "fetch"]), (unpacked, ["image", "pull"])):
                    before, began = _written(pid), time.monotonic()
                    subprocess.run([*ctr, *words, "--plain-http", image], check=True, capture_output=True)
                    os.sync()
                    steps.append((time.monotonic() - began, _written(pid) - before))
                    print(f"  {' '.join(words):14} {steps[-1][0]:6.2f} s, {steps[-1][1] / size:.2f}x", flush=True)
                used = _used(at / "root")
            shutil.rmtree(at)
    pull_s = statistics.median(one[0] + other[0] for one, other in zip(fetched, unpacked, strict=True))
    figures: dict[str, object] = {"machine": describe(folder), "size": size, "runs": runs, "pull_s": pull_s}
    version = subprocess.run(["containerd", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    for name, steps in (("fetch", fetched), ("unpack", unpacked)):
        figures[name] = {
            "s": statistics.median(seconds for seconds, _ in steps),
            "written": statistics.median(written for _, written in steps),
        }
    return figures | {"used": used, "containerd": version}


def _pid(folder: Path) -> int:
    for found in Path("/proc").glob("[0-9]*/cmdline"):
        words = found.read_bytes().split(b"\0")
        if words[0] == b"containerd" and os.fsencode(f"{folder}/root") in words:
            return int(found.parent.name)
    raise SystemExit("containerd does not run")


def _written(pid: int) -> int:
    said = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(said["write_bytes"])


def _used(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if not path.is_symlink() and path.is_file())


if __name__ == "__main__":
    main()
