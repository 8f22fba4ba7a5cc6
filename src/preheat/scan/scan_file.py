"""Scan file: whether a file runs code when it is loaded, by picklescan in a process of its own."""

import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

import msgspec

from preheat.core.installation import how_to_install, is_installed
from preheat.core.scan_verdict import LEVELS, SUSPICIOUS, UNSCANNED, ScanVerdict
from preheat.scan.kinds import HEAD, PICKLE_SUFFIXES, TAIL, kind_of
from preheat.scan.texts import GRAPHS, code_by_name, configured_code, is_configuration

# What our own rules find beside the scanner's changes with this number, and files are looked into again.
_RULES = 2
_SCANNER = "picklescan"
_PATIENCE_S = 300.0


class _Report(msgspec.Struct, frozen=True):
    level: str
    found: list[str] = []
    why: str = ""


def may_run_code(path: Path, name: str) -> bool:
    """Return whether the file at `path`, called `name` in its repository, should be looked into.

    Decided by its bytes, and by its name where loaders go by that: reads 4 KiB of its start and 64 KiB of its end.
    """
    if PurePosixPath(name).suffix.lower() in PICKLE_SUFFIXES | GRAPHS.keys():
        return True
    with open(path, "rb") as file:
        head = file.read(HEAD)
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
        return bool(kind_of(head, file.read(TAIL)))


def look_at_text(path: Path, name: str, size: int) -> ScanVerdict | None:
    """Return a verdict on code, and on configuration that makes a loader run code; None for anything else.

    Cheap enough for each file, and by its name, so it is neither kept nor left to another process.
    """
    holds = [code] if (code := code_by_name(name)) else []
    if is_configuration(name, size):
        holds += configured_code(name, path.read_bytes())
    return ScanVerdict(SUSPICIOUS, why=f"it holds {', '.join(holds)}") if holds else None


def scanner() -> str:
    """Return the scanner's name and version; an empty string if none is installed."""
    if not is_installed(_SCANNER):
        return ""
    return f"{_SCANNER} {importlib.metadata.version(_SCANNER)}, rules {_RULES}"


def scan(path: Path, name: str) -> ScanVerdict:
    """Look into the file at `path`, called `name` in its repository.

    What is looked into may have been made to break whoever looks: so that is another process, with limits on memory and
    time, and whatever becomes of it is a verdict.
    """
    by = scanner()
    if not by:
        return ScanVerdict(UNSCANNED, why=f"{_SCANNER} is not installed: {how_to_install(_SCANNER)}")
    command = [sys.executable, "-P", "-m", "preheat.scan.child", str(path), PurePosixPath(name).name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL)
        report = msgspec.json.decode(done.stdout, type=_Report)
    except subprocess.TimeoutExpired:
        return ScanVerdict(UNSCANNED, by, why=f"the scanner was not done after {_PATIENCE_S:.0f} s")
    except msgspec.DecodeError:
        return ScanVerdict(UNSCANNED, by, why=_end(done.returncode))
    if report.level not in LEVELS:
        return ScanVerdict(UNSCANNED, by, why=_end(done.returncode))
    return ScanVerdict(report.level, by, tuple(report.found), report.why)


def _end(status: int) -> str:
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return f"the scanner ended {how}"
