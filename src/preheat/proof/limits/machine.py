"""Machine: the hardware and software that a proof was measured on."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path

from preheat import __version__
from preheat.disk.filesystem import filesystem_of


def describe_machine(folder: Path) -> dict[str, object]:
    """Return the hardware, the kernel, the filesystem of `folder`, the load, and the time."""
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    cpu = re.search(r"model name\s*:\s*(.*)", _read("/proc/cpuinfo"))
    return {
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": int(memory[1]) * 1024 if memory else None,
        "kernel": ".".join(platform.release().split(".")[:2]),
        "filesystem": filesystem_of(folder),
        "preheat": __version__,
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "load": round(os.getloadavg()[0], 2),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
