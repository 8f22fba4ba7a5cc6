"""Free memory: bytes that can still be allocated, on the machine and within the memory cgroup."""

from __future__ import annotations

from preheat.guard.kernel.oom import memory_cgroup


def free_memory(root: str = "/") -> int:
    """Return the bytes that can be allocated without swapping; unused page cache counts as free.

    `root` is the folder that contains /proc and /sys.
    """
    free = _field(f"{root.rstrip('/')}/proc/meminfo", "MemAvailable:") * 1024
    folder, version = memory_cgroup("self", root)
    if version == 2:
        names = ("memory.max", "memory.current", "inactive_file")
    elif version == 1:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    else:
        return free
    limit, used = _number(f"{folder}/{names[0]}"), _number(f"{folder}/{names[1]}")
    if limit < 0 or used < 0:
        return free
    reclaimable = _field(f"{folder}/memory.stat", names[2])
    return max(0, min(free, limit - used + reclaimable))


def _number(path: str) -> int:
    """Read a number from a file; return -1 for "max" or a missing file."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return -1
    return int(text) if text.isdigit() else -1


def _field(path: str, name: str) -> int:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                words = line.split()
                if words and words[0] == name:
                    return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return 0
