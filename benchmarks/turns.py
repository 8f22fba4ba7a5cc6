"""Turns: programs that run alternately, each into an empty folder on an idle disk, and their results."""

import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.hub.line import Line
from benchmarks.hub.repo import Repo
from benchmarks.hub.serving import Hub, Manner
from benchmarks.machine import load
from benchmarks.sides import Errand, Side
from benchmarks.timed import run

Figures = dict[str, object]


class Turns:
    """A row of the table: one repo, one manner of serving it, perhaps over a long line.

    With `keeping`, what earlier turns brought is removed at the end of the row: ext4 gives no inode away again that was
    freed in the last minutes, so who makes thousands of files after thousands were removed waits for its search.
    """

    def __init__(
        self,
        repo: Repo,
        manner: Manner,
        work: Path,
        line: Line | None = None,
        within_s: float = 900,
        *,
        keeping: bool = False,
    ) -> None:
        self._keeping = keeping
        self._kept: list[Path] = []
        self._repo = repo
        self._manner = manner
        self._work = work
        self._line = line
        self._within_s = within_s

    def take(self, sides: Iterable[tuple[Side, int]]) -> list[Figures]:
        """Run each program as often as requested, alternately; return medians and spreads."""
        wanted = list(sides)
        with Hub(self._repo_alone, self._manner, self._line) as hub:
            came: dict[str, list[Figures]] = {side.name: [] for side, _ in wanted}
            for turn in range(max(times for _, times in wanted)):
                for side, times in wanted:
                    if turn < times:
                        came[side.name].append(self._once(side, hub))
            for folder in self._kept:
                shutil.rmtree(folder, ignore_errors=True)
            example = Errand(hub.url, self._repo, self._work / "into")
            return [summary(side, side.say(example), came[side.name]) for side, _ in wanted]

    @property
    def _repo_alone(self) -> dict[str, Repo]:
        return {self._repo.name: self._repo}

    def _once(self, side: Side, hub: Hub) -> Figures:
        into = self._work / "into"
        if self._keeping and into.exists():
            self._kept.append(into.rename(self._work / f"before-{len(self._kept)}"))
        errand = Errand(hub.url, self._repo, empty(into))
        log = self._work / "said.txt"
        environ = side.environment(errand)
        prefix = self._line.prefix if self._line else []
        requests, sent = hub.total()
        carried = self._line.carried() if self._line else 0
        spent = run([*prefix, *side.command(errand)], environ, log, self._within_s)
        after_requests, after_sent = settled(hub)
        figures: Figures = {
            "seconds": round(spent.seconds, 3),
            "cpu_s": round(spent.cpu_s, 3),
            "peak_rss": spent.peak_rss,
            "requests": after_requests - requests,
            "sent": after_sent - sent,
            "carried": self._line.carried() - carried if self._line else 0,
            "load": load(),
            "whole": spent.status == 0 and holds(errand.into, self._repo),
        }
        words = "" if figures["whole"] else f"  NOT WHOLE (status {spent.status}): {spent.said[-300:]!r}"
        print(
            f"  {side.name:24} {spent.seconds:8.2f} s  {spent.cpu_s:6.2f} CPU-s  {spent.peak_rss / 1e6:5.0f} MB"
            f"  {figures['requests']} requests  {_times(figures, self._repo)}load {figures['load']}{words}",
            flush=True,
        )
        return figures


def summary(side: Side, command: str, came: list[Figures]) -> Figures:
    """Return medians and spreads of the complete runs; an incomplete one is counted, and not timed."""
    good = [one for one in came if one["whole"]]
    told: Figures = {
        "name": side.name,
        "version": side.version,
        "command": command,
        "verifies": side.verifies,
        "n": len(good),
        "failed": len(came) - len(good),
        "runs": came,
    }
    if good:
        for key in ("seconds", "cpu_s", "peak_rss", "requests", "sent"):
            values = [float(str(one[key])) for one in good]
            told[key] = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return told


def _times(figures: Figures, repo: Repo) -> str:
    """Return how often the bytes went over the line, if it counts them."""
    carried = int(str(figures["carried"]))
    return f"{carried / repo.size:5.2f}x over the line  " if carried > 0 else ""


def empty(folder: Path) -> Path:
    """Empty a folder and wait for the disk, so that no program pays for another one's writes."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.sync()
    time.sleep(0.2)
    return folder


def settled(hub: Hub) -> tuple[int, int]:
    """Return a hub's counts once they no longer change."""
    before, now = (-1, -1), hub.total()
    while before != now:
        time.sleep(0.05)
        before, now = now, hub.total()
    return now


def holds(folder: Path, repo: Repo) -> bool:
    """Whether each file of the repo is somewhere in a folder, by its size; each client has its own names for them."""
    there: dict[int, int] = {}
    for path, inode in _inodes(folder).values():
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            there[size] = there.get(size, 0) + 1 if inode else 0
    wanted: dict[int, set[str]] = {}
    for entry in repo.entries.values():
        wanted.setdefault(entry.size, set()).add(entry.sha256)
    return all(there.get(size, 0) >= len(digests) for size, digests in wanted.items())


def data_in(folder: Path) -> int:
    """Count the bytes of files that were written: neither holes nor what is merely reserved."""
    total = 0
    for path, _ in _inodes(folder).values():
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
            size, at = os.fstat(file.fileno()).st_size, 0
            while at < size:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                total += end - at
                at = end
    return total


def _inodes(folder: Path) -> dict[int, tuple[Path, int]]:
    """Return the inodes of files: each file once, also with several hard links."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            inode = path.stat().st_ino
            found[inode] = (path, inode)
    return found
