"""Scan file: run picklescan in a separate process, to find code that runs when a file is loaded."""

import functools
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
from preheat.scan.texts import GRAPHS, code_by_name, configured_code, is_configuration, suffix_of

# Increase this number when preheat's own rules change, so that files are scanned again.
_RULES = 4
_SCANNER = "picklescan"
_PATIENCE_S = 300.0


class _Report(msgspec.Struct, frozen=True):
    level: str
    found: list[str] = []
    why: str = ""


def may_run_code(path: Path | str, name: str) -> bool:
    """Return whether the file at `path`, called `name` in its repository, should be scanned.

    Checks the first 4 KiB and the last 64 KiB, and also the name, since some loaders choose the format by name.
    """
    if suffix_of(name) in PICKLE_SUFFIXES | GRAPHS.keys():
        return True
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        head = os.pread(descriptor, HEAD, 0)
        tail = head if size <= HEAD else os.pread(descriptor, TAIL, max(size - TAIL, 0))
    finally:
        os.close(descriptor)
    return bool(kind_of(head, tail))


def look_at_text(path: Path | str, name: str, size: int) -> ScanVerdict | None:
    """Return a verdict if the file is code, or configuration that makes a loader run code; else None.

    The check is cheap and depends on the file's name. So it runs in this process, and the verdict is not cached.
    """
    holds = [code] if (code := code_by_name(name)) else []
    if is_configuration(name, size):
        holds += configured_code(name, Path(path).read_bytes())
    return ScanVerdict(SUSPICIOUS, why=f"it contains {', '.join(holds)}") if holds else None


def scanner(name: str = "") -> str:
    """Return the scanner's name and version, and the extension of `name` if it matters; "" if no scanner is installed.

    The extension matters if the verdict depends on it: an ONNX graph that is called `.bin` is not scanned as a graph.
    """
    if not (version := _version()):
        return ""
    suffix = suffix_of(name)
    by_name = f", {suffix}" if suffix in PICKLE_SUFFIXES | GRAPHS.keys() else ""
    return f"{_SCANNER} {version}, rules {_RULES}{by_name}"


@functools.cache
def _version() -> str:
    return importlib.metadata.version(_SCANNER) if is_installed(_SCANNER) else ""


def scan(path: Path, name: str) -> ScanVerdict:
    """Scan the file at `path`, called `name` in its repository. Return a verdict, even if the scanner fails.

    A malicious file may try to break the scanner. So the scanner runs in another process, with limits on memory and
    time.
    """
    by = scanner(name)
    if not by:
        return ScanVerdict(UNSCANNED, why=f"{_SCANNER} is not installed: {how_to_install(_SCANNER)}")
    command = [sys.executable, "-P", "-m", "preheat.scan.child", str(path), PurePosixPath(name).name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL)
        report = msgspec.json.decode(done.stdout, type=_Report)
    except OSError as error:  # such as too many processes
        return ScanVerdict(UNSCANNED, why=f"the scanner could not be started: {(error.strerror or '').lower()}")
    except subprocess.TimeoutExpired:
        return ScanVerdict(UNSCANNED, by, why=f"the scanner did not finish within {_PATIENCE_S:.0f} s")
    except msgspec.DecodeError:
        return ScanVerdict(UNSCANNED, by, why=_end(done.returncode))
    if report.level not in LEVELS:
        return ScanVerdict(UNSCANNED, by, why=_end(done.returncode))
    return ScanVerdict(report.level, by, tuple(report.found), report.why)


def _end(status: int) -> str:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    return f"the scanner {how}"
