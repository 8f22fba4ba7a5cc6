"""Scan file: run picklescan in a separate process, to find code that runs when a file is loaded."""

import functools
import importlib.metadata
import io
import os
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from preheat.core.installation import how_to_install, is_installed
from preheat.core.scan_verdict import LEVELS, SUSPICIOUS, UNSCANNED, ScanVerdict
from preheat.scan.hidden import hidden_names
from preheat.scan.kinds import HEAD, PICKLE_SUFFIXES, TAIL, is_safetensors, kind_of
from preheat.scan.pickles import is_pickle
from preheat.scan.texts import GRAPHS, code_by_name, configured_code, is_configuration, suffix_of

# Increase this number when preheat's own rules change, so that files are scanned again.
_RULES = 5
_SCANNER = "picklescan"
PATIENCE_S = 300.0
_SEARCHED_HERE = 64 << 20
_AT_ONCE = 256 << 10  # bytes of a file that is read whole
_UNDECIDED = 256 << 10  # what is valid as a pickle up to here, is looked at by the scanner


class _Report(msgspec.Struct, frozen=True):
    level: str
    found: list[str] = []
    why: str = ""


def may_run_code(path: Path | str, name: str) -> bool:
    """Return whether the file at `path`, called `name` in its repository, should be scanned.

    Checks the first 4 KiB and the last 64 KiB, whether the file can be read as a pickle from its start, or, up to
    64 MiB, from another byte, and the name, since some loaders choose the format by name. Takes a few seconds of CPU
    time at most: a file that would take more should be scanned.
    """
    if suffix_of(name) in PICKLE_SUFFIXES | GRAPHS.keys():
        return True
    with _opened(path) as file:
        head = file.read(HEAD)
        file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
        return bool(kind_of(head, file.read(TAIL))) or is_pickle(file, most=_UNDECIDED) or _may_hide(file)


def _opened(path: Path | str) -> IO[bytes]:
    """Open a file to search it; a small one in memory, since a repository may have thousands of them."""
    with open(path, "rb", buffering=0) as raw:
        size = os.fstat(raw.fileno()).st_size
        if size <= _AT_ONCE:
            body = raw.read(size + 1)
            if body is not None and len(body) == size:  # else it was cut short, or the file has grown
                return io.BytesIO(body)
    return open(path, "rb")


def _may_hide(file: IO[bytes]) -> bool:
    """Return whether a file of no known type may contain a pickle behind other data."""
    size = file.seek(0, os.SEEK_END)
    return not is_safetensors(file, size) and (size > _SEARCHED_HERE or hidden_names(file, quickly=True) != set())


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


def scan(path: Path, name: str, within_s: float = PATIENCE_S) -> ScanVerdict:
    """Scan the file at `path`, called `name` in its repository, within some seconds.

    Return a verdict, even if the scanner fails.

    A malicious file may try to break the scanner. So the scanner runs in another process, with limits on memory and
    time.
    """
    by = scanner(name)
    if not by:
        return ScanVerdict(UNSCANNED, why=f"{_SCANNER} is not installed: {how_to_install(_SCANNER)}")
    command = [sys.executable, "-P", "-m", "preheat.scan.child", str(path), PurePosixPath(name).name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=within_s, check=False, stdin=subprocess.DEVNULL)
        report = msgspec.json.decode(done.stdout, type=_Report)
    except OSError as error:  # such as too many processes
        return ScanVerdict(UNSCANNED, why=f"the scanner could not be started: {(error.strerror or '').lower()}")
    except subprocess.TimeoutExpired:
        return ScanVerdict(UNSCANNED, by, why=f"the scanner did not finish within {within_s:.0f} s")
    except msgspec.DecodeError:
        # The kernel kills a scanner before other programs if memory runs out: a later scan may succeed.
        killed = done.returncode == -signal.SIGKILL
        return ScanVerdict(UNSCANNED, "" if killed else by, why=_end(done.returncode))
    if report.level not in LEVELS:
        return ScanVerdict(UNSCANNED, by, why=_end(done.returncode))
    return ScanVerdict(report.level, by, tuple(report.found), report.why)


def _end(status: int) -> str:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    return f"the scanner {how}"
