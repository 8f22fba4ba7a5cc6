"""Bench pull: `preheat pull` and its peers, taking turns at one stand-in hub; writes results/pull.json and the table.

python -m benchmarks.bench_pull              all rows but the slow one
python -m benchmarks.bench_pull --slow       the row that takes each peer over eight minutes
python -m benchmarks.bench_pull --rows loopback --rounds 1 --scale 0.1     a trial, which writes nothing
"""

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks import corpus, sides
from benchmarks.hub.line import Line, NoLine
from benchmarks.hub.repo import Repo, read_repo
from benchmarks.hub.secure import NoNginx
from benchmarks.hub.serving import Hub, Manner
from benchmarks.machine import describe, load
from benchmarks.report import write_report
from benchmarks.sides import Errand, Side
from benchmarks.timed import run
from benchmarks.turns import Figures, Turns, data_in, empty, settled

_RESULTS = Path(__file__).parent / "results" / "pull.json"
_REPO, _SMALL = "acme/big", "acme/small"
_ROUND_TRIP_S = 0.02
_FLOOR_CONNECTIONS, _FAR_FLOOR = (8, 16), 32

_TITLES = {
    "slow": "1 MB/s a connection, 200 MB/s in all, 2 GB",
    "far": "20 ms round trip, 50 MB/s a connection, 2 GB",
    "loopback": "unshaped loopback, 2 GB",
    "far-https": "HTTPS, 20 ms round trip, 50 MB/s a connection, 2 GB",
    "https": "HTTPS, unshaped loopback, 2 GB",
    "small-https": "HTTPS, 20 ms round trip, 3,000 small files, 76 MB",
    "small": "20 ms round trip, 3,000 small files, 76 MB",
    "kill": "kill -9 at half, then again; 50 MB/s a connection, 2 GB",
}


_HTTPS = ("far-https", "https", "small-https")


class Bench:
    """One run of the benchmark: its folder, its models and its clients."""

    def __init__(self, work: Path, rounds: int, scale: float, only: list[str]) -> None:
        self.work = work
        self.rounds = rounds
        self.scale = scale
        hf2 = partial(sides.hf, "2.4.0", "hf 2.x")
        hf0 = partial(sides.hf, "0.36.2", "hf 0.36")
        ms = partial(sides.modelscope, "1.40.0")
        hub_clients, absent = sides.gather(hf2, hf0, ms)
        others, also_absent = sides.gather(partial(sides.modelscope, "1.40.0", 8), sides.aria2, sides.curl)
        self.hub_clients = [side for side in hub_clients if not only or side.name in only]
        self.others = [side for side in others if not only or side.name in only]
        self.absent = absent + also_absent
        self.ours = sides.preheat()
        self._repos: dict[str, Repo] = {}

    @property
    def big(self) -> Repo:
        """The model of 2 GB."""
        if _REPO not in self._repos:
            folder = corpus.weights(self.work / "big", int(497_000_000 * self.scale))
            self._repos[_REPO] = read_repo(_REPO, folder)
        return self._repos[_REPO]

    @property
    def small(self) -> Repo:
        """The repository of 3,000 small files."""
        if _SMALL not in self._repos:
            folder = corpus.small_files(self.work / "small", int(3_000 * self.scale), int(76_000_000 * self.scale))
            self._repos[_SMALL] = read_repo(_SMALL, folder)
        return self._repos[_SMALL]

    def slow(self) -> list[Figures]:
        """Each client once: the slowest take over eight minutes."""
        turns = Turns(self.big, Manner(pace=1_000_000, rate=200_000_000), self.work)
        peers = [side for side in (*self.hub_clients, *self.others) if "parts" not in side.name]
        return turns.take([(self.ours, self.rounds), *((side, 1) for side in peers)])

    def far(self, *, tls: bool = False) -> list[Figures]:
        """All clients over the long line; the floor does not support TLS."""
        with Line(_ROUND_TRIP_S) as line:
            turns = Turns(self.big, Manner(pace=50_000_000, tls=tls), self.work, line)
            floors = () if tls else (_floor(_FAR_FLOOR),)
            everybody = (*floors, self.ours, *self.hub_clients, *self.others)
            return turns.take((side, min(self.rounds, 3)) for side in everybody)

    def loopback(self, *, tls: bool = False) -> list[Figures]:
        """All clients over loopback, and the floor, if TLS is off."""
        turns = Turns(self.big, Manner(tls=tls), self.work)
        floors = [] if tls else [_floor(connections) for connections in _FLOOR_CONNECTIONS]
        return turns.take((side, self.rounds) for side in (*floors, self.ours, *self.hub_clients, *self.others))

    def small_files(self, *, tls: bool = False) -> list[Figures]:
        """Only hub clients, which also list the files."""
        with Line(_ROUND_TRIP_S) as line:
            turns = Turns(self.small, Manner(tls=tls), self.work, line, keeping=True)
            return turns.take((side, min(self.rounds, 3)) for side in (self.ours, *self.hub_clients))

    def kill(self) -> list[Figures]:
        """Each client is killed when half of the bytes have been sent, and started again."""
        resuming = [sides.curl("--continue-at", "-")] if any("curl" in side.name for side in self.others) else []
        told: list[Figures] = []
        for side in (self.ours, *self.hub_clients, *self.others, *resuming):
            runs = [_killed(side, self.big, self.work) for _ in range(self.rounds if side is self.ours else 1)]
            example = side.say(Errand("HUB", self.big, self.work / "into"))
            told.append({"name": side.name, "version": side.version, "command": example, "runs": runs})
        return told


def _floor(connections: int) -> Side:
    def command(e: Errand) -> list[str]:
        here = [sys.executable, "-m", "benchmarks.floor"]
        return [*here, e.url, e.repo.name, str(e.into / "files"), str(connections)]

    # The floor is a module of this tree: it has to find it.
    return Side(
        f"floor, {connections} connections",
        "benchmarks/floor.py",
        command,
        lambda _: {"PYTHONPATH": str(sides.ROOT)},
        "sha256; fdatasync",
    )


def _killed(side: Side, repo: Repo, work: Path) -> Figures:
    """Kill a pull at half, repeat it, and count the bytes requested again."""
    errand = Errand("", repo, empty(work / "into"))
    with Hub({repo.name: repo}, Manner(pace=50_000_000)) as hub:
        errand = Errand(hub.url, repo, errand.into)
        environ, command = side.environment(errand), side.command(errand)
        run(command, environ, work / "said.txt", 300, lambda: hub.total()[1] >= repo.size // 2)
        left = settled(hub)[1]
        had = data_in(errand.into)
        spent = run(side.command(errand), environ, work / "said.txt", 300)
        left_again = settled(hub)[1] - left
    over = data_in(errand.into) - repo.size
    again = max(0, left_again - max(0, repo.size - had))
    told: Figures = {
        "left": left,
        "had": had,
        "left_again": left_again,
        # Clients that had written nothing to files are not compared.
        "again_of_files": again / had if had > left / 100 else None,
        "again_of_hub": max(0, left + left_again - repo.size) / left,
        "left_behind": max(0, over),
        "whole": spent.status == 0,
        "load": load(),
    }
    print(
        f"  {side.name:24} {left / 1e6:6.0f} MB had left the hub, {had / 1e6:6.0f} MB were in files; then "
        f"{left_again / 1e6:6.0f} MB: again {100 * again / max(had, 1):.2f} % of the files', "
        f"{100 * float(str(told['again_of_hub'])):.2f} % of the hub's; {max(0, over) / 1e6:.0f} MB too many on disk",
        flush=True,
    )
    return told


def main() -> None:
    """Measure the requested rows; store the result of a complete run."""
    form = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form.add_argument("--slow", action="store_true", help="the row at 1 MB/s a connection, and no other")
    form.add_argument("--rows", action="append", choices=[*_TITLES], help="only these; repeatable")
    form.add_argument("--rounds", type=int, default=5, help="how often each has its turn (default 5; far, small: 3)")
    form.add_argument("--scale", type=float, default=1.0, help="less to pull, for a trial that is not kept")
    form.add_argument("--only", action="append", default=[], metavar="PEER", help="ours and these; for a trial")
    form.add_argument("--work", type=Path, default=Path("/var/tmp"), help="a disk with 6 GB to spare")
    options = form.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that hubs, namespaces and folders are removed at the end
    with _folder(options.work) as work:
        bench = Bench(work, options.rounds, options.scale, options.only)
        rows = options.rows or (["slow"] if options.slow else ["far", "loopback", "small", "kill", *_HTTPS])
        measured: dict[str, object] = {}
        for row in rows:
            print(f"{_TITLES[row]} (load {load()})", flush=True)
            try:
                measured[row] = {"title": _TITLES[row], "machine": describe(work), "sides": _measure(bench, row)}
            except (NoLine, NoNginx) as error:
                print(f"  left out: {error}")
                measured[row] = {"title": _TITLES[row], "machine": describe(work), "left_out": str(error)}
        for line in bench.absent:
            print(line)
    if options.scale == 1.0 and options.rounds >= 3 and not options.only:
        kept = json.loads(_RESULTS.read_text()) if _RESULTS.exists() else {"rows": {}}
        kept["rows"] |= measured
        kept["absent"] = bench.absent
        _RESULTS.parent.mkdir(exist_ok=True)
        _RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        write_report(_RESULTS)


def _measure(bench: Bench, row: str) -> list[Figures]:
    match row:
        case "slow":
            return bench.slow()
        case "far" | "far-https":
            return bench.far(tls=row in _HTTPS)
        case "loopback" | "https":
            return bench.loopback(tls=row in _HTTPS)
        case "small" | "small-https":
            return bench.small_files(tls=row in _HTTPS)
        case _:
            return bench.kill()


@contextlib.contextmanager
def _folder(under: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="preheat-bench-", dir=under))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
