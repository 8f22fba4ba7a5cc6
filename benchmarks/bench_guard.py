"""What the guard costs and what it gains: `make bench-guard`; sides take turns, medians and spreads are printed.

    python -m benchmarks.bench_guard [cost] [cold] [crash] [renew] [stop] [--venv PYTHON] [--runs N]

`cold` and `crash` require a Python with torch, transformers, gradio and safetensors; `cold` also requires root and a
disk that the blkio cgroup (version 1) can throttle. Rows that cannot be measured are reported.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.guard_apps import GRADIO, TENSORS, TRACED, WEB
from benchmarks.guarded import Guarded, ask, bare, children, cpu_s, evict, memory, told
from benchmarks.machine import describe
from tests.guard.apps import free_port

from preheat.deploy.guard_zip import write_guard_zip

RESULTS = Path(__file__).parent / "results"
Figures = dict[str, object]


def spread(seconds: Iterable[float], unit: float = 1000) -> dict[str, float]:
    """Format a row of times as median and extremes, in milliseconds."""
    times = sorted(seconds)
    return {
        name: round(unit * f(times), 2) for name, f in (("median", statistics.median), ("least", min), ("most", max))
    }


def cost(zipped: Path, runs: int) -> Figures:
    """Measure the cost of starting an app under the guard, and of keeping it there."""
    print_time = ("date", "+%s.%N")
    sides = {
        "bare": bare("-c", f"import os; os.execvp('date', {list(print_time)!r})"),
        "guard": bare(str(zipped), "--", *print_time),
        "guard with status": bare(str(zipped), "--status", "127.0.0.1:0", "--", *print_time),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, words in sides.items():
            before, began = sum(os.times()[2:4]), time.time()
            done = subprocess.run(words, capture_output=True, check=True)
            times[name].append(float(done.stdout) - began)
            spent[name].append(sum(os.times()[2:4]) - before)
    figures: Figures = {f"{name}: until the app begins, ms": spread(values) for name, values in times.items()}
    for name in ("guard", "guard with status"):
        for what, came, middle in (
            ("", times, statistics.median),
            (", at best", times, min),
            (" in CPU, to its end", spent, statistics.mean),
        ):
            figures[f"{name}: more than bare{what}, ms"] = round(1000 * (middle(came[name]) - middle(came["bare"])), 1)
    with (
        socket.create_server(("127.0.0.1", 0)) as there,
        subprocess.Popen(bare("-c", "import time; time.sleep(60)")) as idle,
    ):
        threading.Thread(target=lambda: [there.accept()[0].close() for _ in iter(int, 1)], daemon=True).start()
        url = f"tcp:elsewhere:{there.getsockname()[1]}".replace("elsewhere", "127.0.0.1")
        guarded = Guarded(zipped, "--status", "127.0.0.1:0", "--alive", url, "--hang-after", "60", "--", "sleep", "90")
        guarded.until("running|starting")
        time.sleep(3)
        ours = [guarded.process.pid, *children(guarded.process.pid)]
        before, began = sum(map(cpu_s, ours)), time.monotonic()
        time.sleep(20)
        figures["steady CPU, %"] = round(100 * (sum(map(cpu_s, ours)) - before) / (time.monotonic() - began), 3)
        more = memory(guarded.process.pid, "Rss") - memory(idle.pid, "Rss")
        figures["resident more than bare, MB"] = round(more / 1e6, 1)
        private = sum(memory(pid, "Private_Dirty") for pid in ours) - memory(idle.pid, "Private_Dirty")
        figures["its own memory more than bare, warden included, MB"] = round(private / 1e6, 1)
        guarded.end()
        idle.kill()
    return figures


def cold(zipped: Path, runs: int, python: str, work: Path) -> Figures:
    """Start an app of 1 GB from a disk that is as slow as its imports, with warm-up and without, cold and warm."""
    weights, trace = work / "weights.safetensors", work / "trace"
    env = {"WEIGHTS": str(weights), "TRACE": str(trace), "OMP_NUM_THREADS": "1"}
    if not weights.exists():
        subprocess.run([python, "-c", TENSORS.partition("# load")[0]], env={**os.environ, **env}, check=True)
    subprocess.run([python, "-c", TRACED + TENSORS], env={**os.environ, **env}, check=True, stdout=-1)
    files = [Path(line) for line in trace.read_text().splitlines() if Path(line).is_file()]
    size = sum(file.stat().st_size for file in files)
    group = Path("/sys/fs/cgroup/blkio") / f"preheat-bench-{os.getpid()}"
    group.mkdir()
    try:
        words = ("--ready", "line:^loaded", "--max-restarts", "0")
        app = ("--", python, "-c", TENSORS)

        def once(*more: str) -> float:
            guarded = Guarded(zipped, *words, *more, *app, env=env, group=group)
            took = guarded.until("running") - guarded.began
            guarded.end()
            return took

        once()
        busy = statistics.median(once() for _ in range(3))
        device = work.stat().st_dev
        limit = int(size / busy)
        (group / "blkio.throttle.read_bps_device").write_text(f"{os.major(device)}:{os.minor(device)} {limit}")
        sides = {"without": (), "warm-up": ("--warm", str(trace))}
        came: dict[str, list[float]] = {f"{name}, {state}": [] for state in ("cold", "warm") for name in sides}
        reading, again = [], []
        for _ in range(runs):
            for name, more in sides.items():
                evict(files)
                came[f"{name}, cold"].append(once(*more))
                came[f"{name}, warm"].append(once(*more))
            again.append(once())
            evict(files)
            began = time.monotonic()
            reader = bare("-c", READ, str(trace), str(group))
            subprocess.run(reader, check=True)
            reading.append(time.monotonic() - began)
    finally:
        time.sleep(0.5)
        group.rmdir()
    medians = {name: statistics.median(times) for name, times in came.items()}
    floor = max(busy, statistics.median(reading))
    return {
        "files": len(files),
        "bytes": size,
        "disk throttled to, MB/s": round(limit / 1e6),
        "CPU alone (warm), s": round(busy, 2),
        "reading alone, s": spread(reading, 1),
        **{f"{name}, s": spread(times, 1) for name, times in came.items()},
        "cold: times faster": round(medians["without, cold"] / medians["warm-up, cold"], 2),
        "cold: more than max(reading, CPU), %": round(100 * (medians["warm-up, cold"] / floor - 1)),
        "without, warm, once more, s": spread(again, 1),
        "warm: the same side twice differs by, %": round(
            100 * abs(statistics.median(again) / medians["without, warm"] - 1), 1
        ),
        "warm: slower by, %": round(100 * (medians["warm-up, warm"] / medians["without, warm"] - 1), 1),
    }


READ = """
import sys
open(sys.argv[2] + "/cgroup.procs", "w").write(str(__import__("os").getpid()))
for line in open(sys.argv[1]):
    try:
        with open(line.rstrip("\\n"), "rb") as file:
            while file.read(1 << 22): pass
    except OSError: pass
"""


def crash(zipped: Path, runs: int, python: str) -> Figures:
    """Kill a torch, transformers and gradio app: how long until it answers again, restarted and with a standby."""
    came: dict[str, list[float]] = {"restart": [], "standby": []}
    starts: list[float] = []
    lines: dict[str, list[tuple[float, int]]] = {}
    for _ in range(runs):
        for name, more in (("restart", []), ("standby", ["--standby"])):
            port = free_port()
            status = free_port()
            words = ["--front", f"127.0.0.1:{port}", "--ready", "http://127.0.0.1:{port}/", *more]
            words += ["--status", f"127.0.0.1:{status}"]
            guarded = Guarded(zipped, *words, "--", python, "-c", GRADIO, env={"HF_HUB_OFFLINE": "1"})
            starts.append(guarded.until("running") - guarded.began)
            wanted = ("preheat_app_standby 1", "preheat_app_starts_total")[name == "restart"]
            while wanted not in told(status):
                time.sleep(0.2)
            time.sleep(1)
            first = serving(guarded)
            killed = time.monotonic()
            os.kill(first, signal.SIGKILL)
            line = []
            while not line or line[-1][1] != 200:
                line.append((round(time.monotonic() - killed, 3), ask(port)))
                time.sleep(0.02)
            came[name].append(line[-1][0])
            lines[name] = line
            guarded.end()
    plain = statistics.median(starts)
    medians = {name: statistics.median(times) for name, times in came.items()}
    return {
        "first start, s": spread(starts, 1),
        "crash to answering, restarted (with its back-off), s": spread(came["restart"], 1),
        "crash to answering, standby, s": spread(came["standby"], 1),
        "standby: times faster than a restart": round(medians["restart"] / medians["standby"], 1),
        "standby: times faster than a first start": round(plain / medians["standby"], 1),
        "what was answered when": lines,
    }


def serving(guarded: Guarded) -> int:
    """Return the app's first instance: the oldest child of the wardens."""
    return min(pid for warden in children(guarded.process.pid) for pid in children(warden))


def renew(zipped: Path, runs: int) -> Figures:
    """Do a planned restart under 50 requests per second, and count the lost ones."""
    port, answers, over = free_port(), [], threading.Event()
    words = ["--front", f"127.0.0.1:{port}", "--ready", "http://127.0.0.1:{port}/", "--standby"]
    guarded = Guarded(zipped, *words, "--", *bare("-c", WEB, "{port}"), env={"LOADS_S": "1"})
    guarded.until("running")

    def keep_asking(number: int) -> None:
        due = time.monotonic() + number / 50
        while not over.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            answers.append(ask(port))
            due += 10 / 50

    threads = [threading.Thread(target=keep_asking, args=(number,)) for number in range(10)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for restart in range(1, runs + 1):
        time.sleep(2)
        guarded.process.send_signal(signal.SIGHUP)
        guarded.until("the new one serves", restart)
    time.sleep(1)
    over.set()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    guarded.end()
    lost = sum(answer != 200 for answer in answers)
    return {
        "planned restarts": runs,
        "requests": len(answers),
        "a second": round(len(answers) / seconds, 1),
        "lost": lost,
    }


def stop(zipped: Path, runs: int) -> Figures:
    """Stop apps that handle SIGTERM, and apps that ignore it."""
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    came: dict[str, list[float]] = {"deaf": [], "polite": []}
    for _ in range(runs):
        for name, code in (("deaf", deaf), ("polite", "print('up', flush=True); __import__('time').sleep(60)")):
            guarded = Guarded(zipped, "--stop-within", "1s", "--ready", "line:up", "--", *bare("-c", code))
            guarded.until("running")
            came[name].append(guarded.end())
    return {
        "deaf, grace 1 s: SIGTERM to gone, ms": spread(came["deaf"]),
        "deaf: most over the grace, ms": round(1000 * (max(came["deaf"]) - 1), 1),
        "polite: SIGTERM to gone, ms": spread(came["polite"]),
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("parts", nargs="*", default=["cost", "cold", "crash", "renew", "stop"])
    words.add_argument("--venv", default="", help="a Python that has torch, transformers, gradio and safetensors")
    words.add_argument("--runs", type=int, default=5)
    asked = words.parse_args()
    RESULTS.mkdir(exist_ok=True)
    out = RESULTS / "guard.json"
    said: Figures = json.loads(out.read_text()) if out.exists() else {}
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # on a disk: /tmp may be memory
        work = Path(folder)
        write_guard_zip(work / "guard.pyz")
        zipped = work / "guard.pyz"
        for part in asked.parts:
            machine = describe(work)
            if part in ("cold", "crash") and not asked.venv:
                print(f"{part}: --venv PYTHON is wanted, one that has torch, transformers, gradio and safetensors")
                continue
            if part == "cold" and not os.access("/sys/fs/cgroup/blkio", os.W_OK):
                print("cold: the disk cannot be throttled here")
                continue
            figures = {
                "cost": lambda: cost(zipped, max(asked.runs, 15)),
                "cold": lambda: cold(zipped, asked.runs, asked.venv, work),
                "crash": lambda: crash(zipped, min(asked.runs, 3), asked.venv),
                "renew": lambda: renew(zipped, asked.runs),
                "stop": lambda: stop(zipped, asked.runs),
            }[part]()
            said[part] = {**figures, "machine": machine}
            print(f"== {part} (load {machine['load']} on {machine['cores']} cores)")
            for name, value in figures.items():
                if name != "what was answered when":
                    print(f"  {name}: {value}")
            out.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
