"""A tree of mirrors behind one slow uplink, with namespaces as hosts: `make bench-tree`; as root.

    python -m benchmarks.bench_tree [--size BYTES] [--rate BYTES] [--place DIR] [--only NAME] [--dry]

Three runs: 8 hosts stage a model through one mirror; 16 hosts, of which a root and 3 heads are mirrors and 12 stage, in
3 racks; and the same while one head is unplugged when a third of the model has come. All hosts are on one machine, so
their processor time and their disk are shared.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.document import fill
from benchmarks.machine import describe
from tests.rack import Rack

RESULTS = Path(__file__).parent / "results" / "tree.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "mirror.md"
COMMAND = Path(sys.executable).with_name("preheat")
OPENING, END = "<!-- tree: filled by make bench-tree -->", "<!-- end of tree -->"
MODEL = "acme/large"
_ROOT = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The mirrors by host number, each with its upstreams in order (0: the hub); and each stager with its mirrors.

    `share`: of the size, and of the uplink's rate: all hosts share the cores and the disk of one machine. `link`: the
    rate of each host's link in bytes/s, 0 for any.
    """

    name: str
    mirrors: dict[int, tuple[int, ...]]
    stagers: dict[int, tuple[int, ...]]
    dies: int = 0
    share: float = 1.0
    link: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """Bytes over the uplink as a share of the model; seconds until the first and last host had it; CPU seconds."""

    name: str
    hosts: int
    size: int
    rate: int
    upstream: float
    first_s: float
    last_s: float
    limit_s: float
    cpu_s: float


def plans() -> list[Plan]:
    """Return the three runs."""
    heads = (2, 3, 4)
    mirrors = {_ROOT: (0,)} | {head: (_ROOT, *range(2, head), 0) for head in heads}
    racks = {5 + number: (heads[number // 4], _ROOT) for number in range(12)}
    return [
        Plan("8 hosts, one mirror", {_ROOT: (0,)}, {2 + number: (_ROOT,) for number in range(8)}),
        Plan("16 hosts, a root and 3 heads", mirrors, racks, share=0.25),
        Plan("the same, one head unplugged", mirrors, racks, dies=3, share=0.25),
    ]


class Run:
    """One run, inside a `with`: the rack, and the processes on its hosts."""

    def __init__(self, plan: Plan, model: Path, work: Path, rate: int) -> None:
        self._plan, self._model, self._work, self._rate = plan, model, work, rate
        hosts = max([*plan.mirrors, *plan.stagers])
        self._rack = Rack(hosts, rate, plan.link)
        self._mirrors: list[subprocess.Popen[bytes]] = []

    def measure(self) -> Figures:
        """Stage the model on all hosts at once."""
        size, cpu = sum(path.stat().st_size for path in self._model.iterdir()), _cpu_s()
        with self._rack, self._serving():
            self._warm_listing()
            before, began = self._rack.carried(), time.monotonic()
            running = [self._stage(host, via) for host, via in self._plan.stagers.items()]
            ended: dict[int, float] = {}
            dies = self._plan.dies
            while len(ended) < len(running):
                for number, process in enumerate(running):
                    if number not in ended and process.poll() is not None:
                        ended[number] = time.monotonic() - began
                        if process.returncode:
                            raise SystemExit(f"{self._plan.name}: {_said(self._work)}")
                if dies and self._rack.carried() - before > size / 3:
                    self._rack.unplug(dies)
                    dies = 0
                time.sleep(0.02)
            carried = self._rack.carried() - before
        many = len(self._plan.mirrors) > 1
        return Figures(
            name=self._plan.name,
            hosts=len(running) + (len(self._plan.mirrors) if many else 0),
            size=size,
            rate=self._rate,
            upstream=round(carried / size, 3),
            first_s=round(min(ended.values()), 1),
            last_s=round(max(ended.values()), 1),
            limit_s=round(size / self._rate, 1),
            cpu_s=round(_cpu_s() - cpu, 1),
        )

    def _warm_listing(self) -> None:
        """Let the hub hash its folder first: that is not what is measured."""
        url = f"{self._url(0)}/api/models/{MODEL}/revision/main"
        subprocess.run([*self._rack.at(0), "curl", "-fsS", "-o", "/dev/null", url], check=True)

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        try:
            self._mirror(0, "--folder", f"{MODEL}={self._model}")
            for host, upstreams in self._plan.mirrors.items():
                words = [f"--upstream=hf={self._url(one)}" for one in upstreams]
                self._mirror(host, *words, *(["--in-order"] if len(words) > 1 else []))
            yield
        finally:
            for process in self._mirrors:
                process.terminate()
            for process in self._mirrors:
                process.wait()

    def _mirror(self, host: int, *words: str) -> None:
        at = self._url(host).removeprefix("http://")
        library = self._work / f"host-{host}"
        process = self._start(host, "mirror", "--listen", at, "--library", str(library), *words)
        self._mirrors.append(process)
        deadline = time.monotonic() + 30
        ask = [*self._rack.at(host), "curl", "-fs", "-o", "/dev/null", f"{self._url(host)}/livez"]
        while subprocess.run(ask, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"a mirror did not start: {_said(self._work)}")
            time.sleep(0.05)

    def _stage(self, host: int, via: tuple[int, ...]) -> "subprocess.Popen[bytes]":
        mirrors = [f"--mirror={self._url(one)}" for one in via]
        return self._start(host, "stage", MODEL, "--to", str(self._work / f"host-{host}"), *mirrors)

    def _start(self, host: int, *words: str) -> "subprocess.Popen[bytes]":
        env = {"PATH": os.environ["PATH"], "HOME": str(self._work), "HF_ENDPOINT": self._url(0), "LANG": "C.UTF-8"}
        with open(self._work / "said.txt", "ab") as said:
            return subprocess.Popen([*self._rack.at(host), str(COMMAND), *words], env=env, stdout=said, stderr=said)

    def _url(self, host: int) -> str:
        return f"http://{self._rack.address(host) if host else self._rack.hub}:8000"


def main() -> None:
    """Measure, print, and write the results and the table in docs/mirror.md."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--size", type=int, default=1_000_000_000)
    words.add_argument("--rate", type=int, default=40_000_000)
    words.add_argument("--place", type=Path, help="the folder of all hosts' disks")
    words.add_argument("--only", default="", help="only the runs with this in their name")
    words.add_argument("--dry", action="store_true", help="write nothing")
    options = words.parse_args()
    if why := Rack.why_not():
        raise SystemExit(f"no hosts: {why}")
    folder = Path(tempfile.mkdtemp(prefix="bench-tree-", dir=options.place))
    try:
        machine, found = describe(folder), []
        for plan in plans():
            if options.only in plan.name:
                work = folder / "work"
                work.mkdir()
                model = write_model(work / "model", int(options.size * plan.share))
                found.append(Run(plan, model, work, int(options.rate * plan.share)).measure())
                shutil.rmtree(work)
                print(_line(found[-1]), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.dry or options.only:
        return
    measured = {"machine": machine, "runs": [asdict(one) for one in found]}
    RESULTS.write_text(json.dumps(measured, indent=1) + "\n")
    DOCUMENT.write_text(fill(DOCUMENT.read_text(), OPENING, END, table(measured)))


def table(measured: dict[str, object]) -> str:
    """Return the results as a part of the document."""
    machine, runs = measured["machine"], measured["runs"]
    assert isinstance(machine, dict)
    assert isinstance(runs, list)
    rows = [
        f"| {one['name']} | {one['size'] / 1e6:g} MB, {one['rate'] / 1e6:g} MB/s | {one['upstream']:.2f}× "
        f"| {one['first_s']:.1f} s | {one['last_s']:.1f} s, {one['last_s'] / one['limit_s']:.2f}× "
        f"| {one['cpu_s']:.0f} s |"
        for one in runs
    ]
    head = (
        f"Measured with network namespaces as hosts on one machine ({machine['cores']} cores, load {machine['load']} "
        f"before, all disks on {machine['filesystem']}, {machine['date']}), which share its cores: `make bench-tree`."
    )
    columns = (
        "| run | model, uplink | bytes over the uplink | first host | last host, beside the uplink's limit | CPU |"
    )
    return "\n".join((head, "", columns, "|---|---|---|---|---|---|", *rows, ""))


def write_model(folder: Path, size: int) -> Path:
    """Write a model in the format of most weights. Raw `.bin` files are searched for pickles, on each host."""
    chance = random.Random(1)
    folder.mkdir()
    tensor = {"weights": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    header = json.dumps(tensor).encode()
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(size // 1_000_000):
            file.write(chance.randbytes(1_000_000))
    return folder


def _line(one: Figures) -> str:
    times = f"first {one.first_s:.1f} s, last {one.last_s:.1f} s, {one.last_s / one.limit_s:.2f}x the limit"
    return f"{one.name:32} {one.hosts} hosts, uplink {one.upstream:.3f}x, {times}, CPU {one.cpu_s:.1f} s"


def _cpu_s() -> float:
    """Return the processor time of the hosts' programs that have ended, whatever else this machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _said(work: Path) -> str:
    return (work / "said.txt").read_text(errors="replace")[-2000:]


if __name__ == "__main__":
    main()
