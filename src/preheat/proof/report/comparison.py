"""Comparison: find figures that are worse than in an older report, by more than the noise of both reports."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preheat.core.errors import UsageError
from preheat.disk.regular_file import read_regular
from preheat.proof.report.json_figures import SCHEMA
from preheat.proof.report.report import Report, spread

# Figures where less is better, each with the smallest change that matters, in its own unit.
_WATCHED: Mapping[str, float] = {
    "ready_s": 0.05,
    "first_s": 0.05,
    "pull_s": 0.05,
    "peak_rss": 4e6,
    "peak_pss": 4e6,
    "video_memory": 4e6,
    "fetched": 1e6,
    "outbound": 0.5,
}
_CERTAIN = frozenset(("fetched", "outbound"))  # counted, not measured, so without noise
_LEAST_NOISE = 0.05
_NOISE_OF_ONE = 0.15  # one start gives no measure of its own noise


@dataclass(frozen=True, slots=True)
class Change:
    """A figure under one condition, in the older report and now. `allowed` is the tolerated fraction of increase."""

    condition: str
    figure: str
    before: float
    now: float
    allowed: float

    @property
    def worse(self) -> bool:
        """Return whether the increase is too large, both relative and absolute."""
        return self.now > self.before * (1 + self.allowed) and self.now - self.before > _WATCHED[self.figure]

    @property
    def part(self) -> float | None:
        """Return the increase as a fraction of `before`, or None if `before` is 0."""
        return self.now / self.before - 1 if self.before else None


@dataclass(frozen=True, slots=True)
class Older:
    """The medians and spreads of an older report, by condition and figure. None for figures that were not measured."""

    app: str
    imitated: object
    medians: Mapping[str, Mapping[str, float | None]]
    spreads: Mapping[str, Mapping[str, float | None]]


_LARGEST = 256 << 20


def read_older(path: Path) -> Older:
    """Read the output of `prove --json`, or its last line. Raise UsageError for anything else."""
    wanted = UsageError(f"{path} is not a report of preheat prove", hint="preheat prove --json > old.json")
    try:
        text = read_regular(path, _LARGEST).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", hint="preheat prove --json > old.json") from error
    documents = []
    for line in text.splitlines():
        try:
            documents.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    try:
        documents = documents or [json.loads(text)]
    except (ValueError, RecursionError) as error:
        raise wanted from error
    done = [one for one in documents if isinstance(one, dict) and one.get("schema") == SCHEMA and "timelines" in one]
    if not done:
        raise wanted
    return _older(done[-1], wanted)


def _older(document: dict[str, Any], wanted: UsageError) -> Older:
    spreads = document.get("spread")
    if not isinstance(spreads, dict):
        raise wanted
    medians = {name: values for name in spreads if isinstance(values := document.get(name), dict)}
    return Older(str(document.get("app", "")), document.get("imitated"), medians, spreads)


def compare(older: Older, report: Report) -> list[Change]:
    """Return the figures that both reports contain. Raise UsageError if they are of different apps or kinds of hub."""
    if older.app != report.app:
        raise UsageError(f"the older report is about {older.app}, not {report.app}", hint="another --compare")
    if bool(older.imitated) != bool(report.imitated):
        raise UsageError("one report used an imitated hub, the other did not", hint="--hub-rate")
    return list(_changes(older, report))


def _changes(older: Older, report: Report) -> Iterator[Change]:
    for condition in report.conditions:
        for figure in _WATCHED:
            before = older.medians.get(condition, {}).get(figure)
            now = report.median(condition, figure)
            if isinstance(before, int | float) and now is not None:
                noises = (older.spreads.get(condition, {}).get(figure), spread(report.taken(condition, figure)))
                allowed = 0.0 if figure in _CERTAIN else sum(_noise(noise) for noise in noises)
                yield Change(condition, figure, float(before), now, allowed)


def _noise(measured: float | None) -> float:
    return _NOISE_OF_ONE if measured is None else max(measured, _LEAST_NOISE)
