"""Import times: parse the stopwatch's log of the app's Python; guard/shim/stopwatch.py documents its format."""

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from preheat.library.small_files import read_small
from preheat.proof.start.timeline import Imports, Package, Span, merged, until

_GAP_S = 0.005
_SLOWEST = 10
_NUMBER = re.compile(r"-?[0-9]{1,20}")
# A start has thousands of such lines, so one expression reads them all.
_NOTE = re.compile(r"^([^\t\n]*)" + 4 * rf"\t({_NUMBER.pattern})" + "$", re.MULTILINE)


class Note(msgspec.Struct, frozen=True):
    """One import, in nanoseconds of CLOCK_MONOTONIC. `own` excludes nested imports, which have a greater `depth`."""

    name: str
    depth: int
    start: int
    stop: int
    own: int


@dataclass(frozen=True, slots=True)
class ImportLog:
    """The imports of one process in the order in which they ended, the time when it started, and its Python."""

    began: int
    python: str
    imports: tuple[Note, ...]

    @property
    def own(self) -> int:
        """Return the total import time in nanoseconds."""
        return sum(note.own for note in self.imports)


def read_notes(folder: Path) -> list[ImportLog]:
    """Return the logs in a folder, one per process, the earliest first."""
    found = (_read(text) for text in _texts(folder.glob("*.imports")))
    return sorted((notes for notes in found if notes), key=lambda notes: notes.began)


def _texts(files: Iterable[Path]) -> Iterator[str]:
    """Read the logs, but only regular files up to 64 MiB: the app can write anything to this folder."""
    for path in files:
        with contextlib.suppress(OSError):
            yield read_small(path).decode("utf-8", "replace")


def sum_up(processes: list[ImportLog], began: int, ready_s: float) -> Imports | None:
    """Return the import times of a start that began at `began` nanoseconds, or None without a log.

    If several processes wrote logs, use the process with the longest imports. The others are usually short-lived
    helpers.
    """
    if not processes:
        return None
    app = max(processes, key=lambda notes: notes.own)
    outermost = (_span(note, began) for note in app.imports if note.depth == 0)
    within = [note for note in app.imports if (note.start - began) / 1e9 < ready_s]
    return Imports(
        interpreter_s=max(0.0, (processes[0].began - began) / 1e9),
        spans=until(merged(outermost, _GAP_S), ready_s),
        slowest=_slowest(within),
        modules=len(within),
    )


def outermost_names(processes: list[ImportLog], began: int, ready_s: float) -> tuple[str, tuple[str, ...]]:
    """Return the app's Python interpreter, and the modules that the app itself imports before it is ready, in order."""
    if not processes:
        return "", ()
    app = max(processes, key=lambda notes: notes.own)
    names = (note.name for note in app.imports if note.depth == 0 and (note.start - began) / 1e9 < ready_s)
    return app.python, tuple(dict.fromkeys(names))


def _read(text: str) -> ImportLog | None:
    first, _, rest = text.partition("\n")
    began, _, python = first.removeprefix("# ").partition("\t")
    if not first.startswith("# ") or not _NUMBER.fullmatch(began):
        return _forked(text)
    return ImportLog(int(began), python, tuple(_notes(rest)))


def _forked(text: str) -> ImportLog | None:
    """Parse the log of a forked process, which has no header."""
    notes = tuple(_notes(text))
    return ImportLog(notes[0].start, "", notes) if notes else None


def _notes(text: str) -> Iterator[Note]:
    for name, *numbers in _NOTE.findall(text):
        yield Note(name, *map(int, numbers))


def _slowest(notes: Iterable[Note]) -> tuple[Package, ...]:
    seconds: defaultdict[str, float] = defaultdict(float)
    modules: defaultdict[str, int] = defaultdict(int)
    for note in notes:
        package = note.name.partition(".")[0]
        seconds[package] += note.own / 1e9
        modules[package] += 1
    order = sorted(seconds, key=lambda name: -seconds[name])[:_SLOWEST]
    return tuple(Package(name, seconds[name], modules[name]) for name in order)


def _span(note: Note, began: int) -> Span:
    return Span((note.start - began) / 1e9, (note.stop - began) / 1e9)
