"""OOM: count out-of-memory kills, in an app's memory cgroup and on the whole machine."""

from __future__ import annotations

import os
from typing import NamedTuple


class OomKills(NamedTuple):
    """Out-of-memory kills so far, in the cgroup and on the machine; `limit` is the cgroup's in bytes (0: none)."""

    in_cgroup: int = 0
    on_machine: int = 0
    limit: int = 0

    def since(self, before: OomKills) -> str:
        """Return a sentence about the out-of-memory kills since `before`, or "" if there were none."""
        if self.in_cgroup > before.in_cgroup:
            limit = f" (limit {self.limit / 1e6:.0f} MB)" if self.limit else ""
            return f"out of memory: the kernel killed a process in its memory cgroup{limit}"
        if self.on_machine > before.on_machine:
            return "out of memory: the kernel killed a process on this machine"
        return ""


def oom_kills(process: str = "self", root: str = "/") -> OomKills:
    """Return the current counts for `process` (a PID or "self"); counts that cannot be read are 0.

    `root` is the folder that contains /proc and /sys.
    """
    folder, version = memory_cgroup(process, root)
    if version == 2:
        kills, limit = _word(_read(f"{folder}/memory.events"), "oom_kill"), _number(_read(f"{folder}/memory.max"))
    elif version == 1:
        kills = _word(_read(f"{folder}/memory.oom_control"), "oom_kill")
        limit = _number(_read(f"{folder}/memory.limit_in_bytes"))
    else:
        kills = limit = 0
    on_machine = _word(_read(os.path.join(root, "proc/vmstat")), "oom_kill")
    # Cgroup version 1 reports "no limit" as the largest multiple of the page size.
    return OomKills(kills, on_machine, limit if limit < 1 << 60 else 0)


def memory_cgroup(process: str = "self", root: str = "/") -> tuple[str, int]:
    """Return the folder and the version (1 or 2) of a process's memory cgroup; ("", 0) if there is none."""
    groups: dict[str, str] = {}
    for line in _read(os.path.join(root, f"proc/{process}/cgroup")).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        for controller in controllers.split(","):
            groups[controller] = path
    for line in _read(os.path.join(root, f"proc/{process}/mountinfo")).splitlines():
        # mountinfo, proc_pid_mountinfo(5): id parent device root place options … - kind source options
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(), right.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        if kinds[0] == "cgroup" and "memory" in kinds[2].split(",") and "memory" in groups:
            return _inside(root, fields[4], fields[3], groups["memory"]), 1
        if kinds[0] == "cgroup2" and "" in groups and "memory" not in groups:
            folder = _inside(root, fields[4], fields[3], groups[""])
            # The root cgroup has no such file, nor has the version 2 hierarchy of a hybrid system.
            if os.path.exists(f"{folder}/memory.events"):
                return folder, 2
    return "", 0


def _inside(root: str, place: str, mounted: str, path: str) -> str:
    """Return the folder of the cgroup `path`, if the subtree `mounted` of its hierarchy is mounted at `place`."""
    if mounted != "/" and (path == mounted or path.startswith(mounted + "/")):
        path = path[len(mounted) :]
    elif mounted != "/":
        path = ""
    return os.path.join(root, place.lstrip("/"), path.lstrip("/")).rstrip("/")


def _word(text: str, name: str) -> int:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name:
            return _number(words[1])
    return 0


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
