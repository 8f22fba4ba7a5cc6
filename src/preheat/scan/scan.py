"""Scan: does a file run code when it is loaded, and which? Asked of picklescan, in a process of its own."""

import importlib.metadata
import signal
import subprocess
import sys
from pathlib import Path, PurePosixPath

import msgspec

from preheat.installation import how_to_install, is_installed
from preheat.verdict import LEVELS, UNSCANNED, Verdict

# What torch.load, pickle.load and joblib.load are given. `.npy` is not here: it is only unpickled on request.
SUFFIXES = frozenset((".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib", ".th", ".dill"))
_SCANNER = "picklescan"
_PATIENCE_S = 300.0


class _Report(msgspec.Struct, frozen=True):
    level: str
    found: list[str] = []
    why: str = ""


def may_run_code(path: Path, name: str) -> bool:
    """Whether the file at `path`, called `name` in its repository, could be a pickle, by its name or its start."""
    if PurePosixPath(name).suffix.lower() in SUFFIXES:
        return True
    with open(path, "rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5


def scanner() -> str:
    """Return the scanner's name and version; an empty string if none is installed."""
    if not is_installed(_SCANNER):
        return ""
    return f"{_SCANNER} {importlib.metadata.version(_SCANNER)}"


def scan(path: Path, name: str) -> Verdict:
    """Look into the file at `path`, called `name` in its repository.

    What is looked into may have been made to break whoever looks: so that is another process, with limits on memory and
    time, and whatever becomes of it is a verdict.
    """
    by = scanner()
    if not by:
        return Verdict(UNSCANNED, why=f"{_SCANNER} is not installed: {how_to_install(_SCANNER)}")
    command = [sys.executable, "-P", "-m", "preheat.scan.child", str(path), PurePosixPath(name).suffix.lower()]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE_S, check=False, stdin=subprocess.DEVNULL)
        report = msgspec.json.decode(done.stdout, type=_Report)
    except subprocess.TimeoutExpired:
        return Verdict(UNSCANNED, by, why=f"the scanner was not done after {_PATIENCE_S:.0f} s")
    except msgspec.DecodeError:
        return Verdict(UNSCANNED, by, why=_end(done.returncode))
    if report.level not in LEVELS:
        return Verdict(UNSCANNED, by, why=_end(done.returncode))
    return Verdict(report.level, by, tuple(report.found), report.why)


def _end(status: int) -> str:
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return f"the scanner ended {how}"
