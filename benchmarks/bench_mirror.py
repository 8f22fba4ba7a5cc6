"""What a mirror's answers cost: `make bench-mirror`; sides take turns, medians and spreads are printed.

    python -m benchmarks.bench_mirror [ROW ...] [--rounds N] [--scale F]

warm     a file that is here, at 1 and 32 connections: preheat, nginx with sendfile as the limit, olah as the peer
servers  the same for the servers that ADR 7 chooses among, and nginx
heads    HEAD requests for a file that is here, from 1, 16 and 64 clients, beside nginx
tls      one connection, plain and under TLS, by curl
cold     how long a file's first byte takes that is not here, beside the hub's own
crowd    50 clients that ask for one cold file at once: what the hub has to send
-https   the same with nginx' TLS before the hub, as real hubs have it
"""

import argparse
import contextlib
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.corpus import weights
from benchmarks.drain import drain
from benchmarks.heads import heads
from benchmarks.hub.repo import read_repo
from benchmarks.hub.serving import Hub, Manner
from benchmarks.machine import describe, load
from benchmarks.mirror_report import tables, write_report
from benchmarks.mirrors import FILE, MODEL, SERVERS, Mirror, Place, Start, nginx, olah, preheat, preheat_alone
from benchmarks.sides import NotHere

RESULTS = Path(__file__).parent / "results" / "mirror.json"
Figures = dict[str, Any]
_HTTPS = "-https"
_WARM, _CROWD, _CLIENTS = 128_000_000, 500_000_000, 50
_TURN_S, _MOST = 1.5, 128  # a turn lasts long enough that where the kernel puts two processes evens out
_HEADS, _HEADS_S = (1, 16, 64), 2.0  # clients, and how long they ask
_REPOS, _FILES, _COLD = 5, 6, 3_000_000


class Bench:
    """The hub, its models, and their folders."""

    def __init__(self, work: Path, rounds: int, scale: float) -> None:
        self.rounds = rounds
        self.work = work
        self.absent: list[str] = []
        self._warm = work / "warm"
        _model(self._warm, int(_WARM * scale))
        folders = {MODEL: self._warm, "acme/crowd": _model(work / "crowd", int(_CROWD * scale))}
        for number in range(_REPOS):
            folders[f"acme/cold-{number}"] = weights(work / f"cold-{number}", _COLD, _FILES)
        self._repos = {name: read_repo(name, folder) for name, folder in folders.items()}
        self.hub = Hub(self._repos, Manner())

    @property
    def place(self) -> Place:
        """Create a folder for a server."""
        return Place(self.hub.url, self._warm, Path(tempfile.mkdtemp(dir=self.work)))

    def measure(self, row: str) -> Figures:
        """Measure one row."""
        rows: dict[str, Callable[[], Figures]] = {
            "warm": lambda: self._warm_file({"preheat": preheat, "nginx": nginx, "olah": olah}),
            "servers": lambda: self._warm_file({"preheat": preheat, "nginx": nginx, **SERVERS}),
            "heads": self._heads,
            "tls": self._tls,
            "cold": self._cold,
            "crowd": self._crowd,
        }
        plain = self.hub
        with Hub(self._repos, Manner(tls=True)) if row.endswith(_HTTPS) else contextlib.nullcontext(plain) as self.hub:
            measured = rows[row.removesuffix(_HTTPS)]()
        self.hub = plain
        return {"machine": describe(self.work), **measured}

    def _warm_file(self, starts: dict[str, Start]) -> Figures:
        with contextlib.ExitStack() as running:
            there: dict[str, Mirror] = {}
            swift: dict[str, float] = {}
            for name, start in starts.items():
                try:
                    there[name] = running.enter_context(start(self.place))
                    drain(there[name].url, 1, 2)
                    swift[name] = _rate(drain(there[name].url, 4, 8))
                except (NotHere, OSError) as error:
                    there.pop(name, None)
                    self.absent.append(f"{name}: {error}")
            rates: dict[tuple[str, int], list[float]] = {}
            size = self._warm.joinpath(FILE).stat().st_size
            for _ in range(self.rounds):
                for connections in (1, 32):
                    for name, mirror in there.items():
                        answers = min(max(int(swift[name] * 1e6 * _TURN_S / size), connections, 8), _MOST)
                        came = drain(mirror.url, connections, answers)
                        rates.setdefault((name, connections), []).append(_rate(came))
                        print(
                            f"  {name:10} {connections:2} connections {rates[name, connections][-1]:8.0f} MB/s",
                            flush=True,
                        )
            return {
                "sides": [
                    {
                        "name": name, "version": mirror.version, "command": mirror.command, "peak_rss": mirror.peak_rss,
                        **{str(n): spread(rates[name, n]) for n in (1, 32)},
                    }
                    for name, mirror in there.items()
                ]
            }  # fmt: skip

    def _heads(self) -> Figures:
        starts: dict[str, Start] = {"preheat": preheat_alone, "preheat, with an upstream": preheat, "nginx": nginx}
        sides = []
        for name, start in starts.items():
            try:
                with start(self.place) as mirror:
                    drain(mirror.url, 1, 2)  # the file is here
                    found = {n: [heads(mirror.url, n, _HEADS_S) for _ in range(self.rounds)] for n in _HEADS}
                    sides.append({"name": name, "version": mirror.version, "peak_rss": mirror.peak_rss} | {
                        str(n): {key: spread([one[key] for one in every]) for key in every[0]}
                        for n, every in found.items()
                    })  # fmt: skip
            except NotHere as error:
                self.absent.append(f"{name}: {error}")
        return {"sides": sides}

    def _tls(self) -> Figures:
        curl = shutil.which("curl")
        if curl is None:
            return {"left_out": "curl is not here"}
        with preheat(self.place) as plain, preheat(self.place, "--tls-self-signed") as secure:
            urls = {"plain": plain.url, "TLS": secure.url.replace("http:", "https:")}
            rates: dict[str, list[float]] = {name: [] for name in urls}
            for turn in range(self.rounds + 1):
                for name, url in urls.items():
                    words = [curl, "-qks", "-o", "/dev/null", "-w", "%{speed_download}", url]
                    said = float(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
                    if turn:  # the first brings the file
                        rates[name].append(said / 1e6)
            return {"sides": [{"name": name, "1": spread(found)} for name, found in rates.items()]}

    def _cold(self) -> Figures:
        with preheat(self.place) as mirror:
            at = mirror.url.removesuffix(f"/{MODEL}/resolve/main/{FILE}")
            took: dict[str, list[float]] = {
                "the hub": [],
                "a file of a model never asked for": [],
                "another file of it": [],
            }
            # Drain speaks no TLS: beside an HTTPS hub, this is the hub behind it.
            plain = self.hub.plain_url
            for repo in range(_REPOS):
                for number in range(1, _FILES + 1):
                    path = f"/acme/cold-{repo}/resolve/main/model-{number:05}-of-{_FILES:05}.safetensors"
                    took["the hub"].append(_first(f"{plain}{path}"))
                    what = "another file of it" if number > 1 else "a file of a model never asked for"
                    took[what].append(_first(f"{at}{path}"))
            return {"sides": [{"name": name, "ms": spread(found)} for name, found in took.items()]}

    def _crowd(self) -> Figures:
        found: Figures = {"sent": [], "seconds": [], "peak_rss": []}
        size = (self.work / "crowd" / FILE).stat().st_size
        for _ in range(min(3, self.rounds)):
            with preheat(self.place) as mirror:
                _, before = self.hub.total()
                came = drain(mirror.url.replace(MODEL, "acme/crowd"), _CLIENTS, _CLIENTS)
                if came["failed"] or came["bytes"] != _CLIENTS * size:
                    raise SystemExit(f"not all clients got the whole: {came}")
                _, after = self.hub.total()
                for name, value in (
                    ("sent", (after - before) / size),
                    ("seconds", came["seconds"]),
                    ("peak_rss", mirror.peak_rss),
                ):
                    found[name].append(value)
                print(
                    f"  hub sent {found['sent'][-1]:.4f}× in {came['seconds']:.1f} s, {mirror.peak_rss / 1e6:.0f} MB",
                    flush=True,
                )
        return {"clients": _CLIENTS, "size": size, **{name: spread(values) for name, values in found.items()}}


def spread(values: list[float]) -> dict[str, float]:
    """Format median and extremes."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "n": len(values)}


def _rate(came: Figures) -> float:
    if came["failed"]:
        raise SystemExit(f"an answer failed: {came['failed'][0]}")
    return float(came["bytes"]) / float(came["seconds"]) / 1e6


def _first(url: str) -> float:
    came = drain(url, 1, 1)
    if came["failed"]:
        raise SystemExit(f"{url}: {came['failed'][0]}")
    return float(came["first_ms"][0])


def _model(folder: Path, size: int) -> Path:
    weights(folder, size, 1)
    (folder / "model-00001-of-00001.safetensors").rename(folder / FILE)
    return folder


@contextlib.contextmanager
def _folder(at: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="preheat-mirror-", dir=at))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Measure the requested rows; store the result of a complete run."""
    form = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ("warm", "servers", "heads", "tls", "cold", "crowd", "cold-https", "crowd-https")
    form.add_argument("rows", nargs="*", choices=[*every, []], metavar="ROW", help="only these")
    form.add_argument("--rounds", type=int, default=5, help="how often each has its turn (default 5)")
    form.add_argument("--scale", type=float, default=1.0, help="smaller files, for a trial that is not kept")
    form.add_argument("--work", type=Path, default=Path("/var/tmp"), help="a disk with 4 GB to spare")
    options = form.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and folders are removed at the end
    measured: Figures = {}
    with _folder(options.work) as work:
        bench = Bench(work, options.rounds, options.scale)
        with bench.hub:
            for row in options.rows or every:
                print(f"{row} (load {load()})", flush=True)
                measured[row] = bench.measure(row)
    print("\n" + tables(measured | {"absent": bench.absent}))
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept |= measured | {"absent": bench.absent}
    if options.scale == 1.0 and options.rounds >= 3:
        RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
        write_report(kept)


if __name__ == "__main__":
    sys.exit(main())
