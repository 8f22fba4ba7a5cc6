"""Machine: the hardware and software that a proof was measured on."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from preheat import __version__


def describe_machine(folder: Path) -> dict[str, object]:
    """Return the hardware, the kernel, the filesystem of `folder`, the load, and the time."""
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    cpu = re.search(r"model name\s*:\s*(.*)", _read("/proc/cpuinfo"))
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": int(memory[1]) * 1024 if memory else None,
        "kernel": ".".join(platform.release().split(".")[:2]),
        "filesystem": filesystem(folder),
        "preheat": __version__,
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "load": round(os.getloadavg()[0], 2),
    }


def filesystem(folder: Path) -> str:
    """Return the type of the filesystem of `folder` (proc_pid_mounts(5)), or "" if unknown."""
    folders = (folder.absolute(), *folder.absolute().parents)
    place = next((one for one in folders if os.path.exists(one)), Path("/")).resolve()  # noqa: PTH110 - never raises
    rows = (line.split() for line in _read("/proc/self/mounts").splitlines())
    mounts = [(_unescaped(row[1]), row[2]) for row in rows if len(row) > 2]
    # Of mounts on the same path, the last one is visible.
    here = [(len(Path(at).parts), number, kind) for number, (at, kind) in enumerate(mounts) if place.is_relative_to(at)]
    return max(here)[2] if here else ""


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
