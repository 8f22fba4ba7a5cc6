"""Scale runs: namespaces as hosts on shaped links that stage a model, to check `scale_model.py`; as root."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.bench_tree import MODEL, Figures, Plan, Run
from benchmarks.scale_model import WAYS, Site

SIZE, UPLINK, LINK, FAN_OUT = 40_000_000, 8_000_000, 16_000_000, 4
COUNTS = (2, 4, 8, 16)
_ROOT = 1
_REGISTRY = "5000"
_RECIPE = '[app]\nname = "bench"\ncommand = ["true"]\n[[needs]]\nref = "hf:{model}"\n'


@dataclass(frozen=True, slots=True)
class Checked:
    """A way with a number of nodes: predicted and measured seconds of the last node, and bytes over the uplink."""

    way: str
    nodes: int
    predicted_s: float
    measured_s: float
    predicted_upstream: float
    measured_upstream: float

    @property
    def error(self) -> float:
        """How much longer it took than predicted, as a share."""
        return self.measured_s / self.predicted_s - 1


def plan(way: str, nodes: int, link: int = LINK) -> Plan:
    """Return the hosts of a run."""
    if way == "hub":
        return Plan(way, {}, {2 + number: () for number in range(nodes)}, link=link)
    if way != "tree of mirrors":
        return Plan(way, {_ROOT: (0,)}, {2 + number: (_ROOT,) for number in range(nodes)}, link=link)
    heads = [2 + number for number in range(-(-nodes // FAN_OUT))]
    mirrors = {_ROOT: (0,)} | dict.fromkeys(heads, (_ROOT, 0))
    first = 2 + len(heads)
    return Plan(way, mirrors, {first + number: (heads[number // FAN_OUT],) for number in range(nodes)}, link=link)


class RegistryRun(Run):
    """The nodes pull from an image in a registry on host 1, which was pushed over the uplink before."""

    def __init__(self, plan: Plan, model: Path, work: Path, rate: int) -> None:
        super().__init__(plan, model, work, rate)
        self.pushed = 0

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        rack, work = self._rack, self._work
        with contextlib.ExitStack() as running:
            running.callback(self._stop)
            self._mirror(0, "--folder", f"{MODEL}={self._model}")
            host = f"{rack.address(_ROOT)}:{_REGISTRY}"
            storage = {"filesystem": {"rootdirectory": str(work / "registry")}}
            (work / "registry.yml").write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": host}}))
            with open(work / "registry.log", "wb") as log:
                words = [*rack.at(_ROOT), "docker-registry", "serve", str(work / "registry.yml")]
                self._mirrors.append(subprocess.Popen(words, stdout=log, stderr=log))
            self.recipe = work / "preheat.toml"
            self.recipe.write_text(_RECIPE.format(model=MODEL))
            for words in (
                ["lock", str(self.recipe)],
                ["pull", str(self.recipe), "--quiet"],
                ["build", str(self.recipe), "--base", "scratch", "--output", f"docker://{host}/bench/model:1",
                 "--plain-http", host],
            ):  # fmt: skip
                before = rack.carried()
                self._ran(*words)
                self.pushed = rack.carried() - before
            yield

    def _ran(self, *words: str) -> None:
        """Run preheat on the hub's host, with a library there."""
        process = self._start(0, *words, "--library", str(self._work / "builder"))
        if process.wait():
            raise SystemExit((self._work / "said.txt").read_text()[-2000:])

    def _stop(self) -> None:
        for process in self._mirrors:
            process.terminate()
        for process in self._mirrors:
            process.wait()

    def _stage(self, host: int, via: tuple[int, ...]) -> "subprocess.Popen[bytes]":
        at = f"{self._rack.address(via[0])}:{_REGISTRY}"
        image = ["--from", f"docker://{at}/bench/model:1", "--plain-http", at]
        library = ["--library", str(self._work / f"host-{host}"), "--quiet"]
        return self._start(host, "pull", str(self.recipe), *image, *library)


def measure(way: str, nodes: int, model: Path, work: Path) -> Figures:
    """Run one way with some nodes; return the figures, whose `upstream` is a share of the model."""
    work.mkdir()
    if way == "one registry":
        run = RegistryRun(plan(way, nodes), model, work, UPLINK)
        figures = run.measure()
        size = sum(path.stat().st_size for path in model.iterdir())
        return replace(figures, upstream=figures.upstream + run.pushed / size)
    return Run(plan(way, nodes), model, work, UPLINK).measure()


def calibrate(tiny: Path, work: Path) -> tuple[dict[int, float], float]:
    """Return the seconds of a stage of a tiny model by the number of nodes, and what a mirror adds.

    The nodes of these runs share the cores of one machine, so more of them take longer to start.
    """
    begin_s = {}
    for nodes in (1, *COUNTS):
        at = work / f"begin-{nodes}"
        at.mkdir(parents=True)
        begin_s[nodes] = Run(plan("hub", nodes), tiny, at, UPLINK).measure().last_s
    at = work / "hop"
    at.mkdir()
    return begin_s, max(Run(plan("one mirror", 1), tiny, at, UPLINK).measure().last_s - begin_s[1], 0.0)


def compare(way: str, figures: Figures, nodes: int, site: Site) -> Checked:
    """Set figures beside what the model predicts."""
    predicted = WAYS[way](site, nodes)
    carried = figures.upstream * figures.size
    return Checked(way, nodes, round(predicted.seconds, 1), figures.last_s, predicted.upstream, carried)
