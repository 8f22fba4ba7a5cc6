"""Machine: the machine on which figures were measured."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def describe(folder: Path) -> dict[str, object]:
    """Describe the machine, and the filesystem of `folder`, to which all files are written."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    kind = subprocess.run(
        ["findmnt", "-no", "FSTYPE", "--target", str(folder)], capture_output=True, text=True, check=False
    )
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(memory[1]) / (1 << 20)) if memory else None,
        "kernel": ".".join(platform.release().split(".")[:2]),
        "filesystem": kind.stdout.strip() or "unknown",
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": load(),
    }


def load() -> float:
    """Return the load average of the last minute."""
    return round(os.getloadavg()[0], 2)
