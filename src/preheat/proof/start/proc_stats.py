"""Proc stats: memory, reads, writes, page faults and sockets of an app's processes, from /proc."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

_PAGE_FAULTS_OWN, _PAGE_FAULTS_OF_CHILDREN = 9, 10  # fields of proc_pid_stat(5), counted after the name
_LISTENS = "0A"


def proportional(pids: Iterable[int]) -> int:
    """Return the total Pss in bytes: private memory, plus a proportional share of shared memory (proc_pid_smaps(5))."""
    found = (re.search(r"^Pss:\s*(\d+) kB", _read(f"/proc/{pid}/smaps_rollup"), re.MULTILINE) for pid in pids)
    return sum(int(pss[1]) * 1024 for pss in found if pss)


def read_and_written(pids: Iterable[int]) -> tuple[int, int]:
    """Return the bytes read from and written to disk (proc_pid_io(5)), including children that ended."""
    read = written = 0
    for pid in pids:
        words = dict(line.split(": ") for line in _read(f"/proc/{pid}/io").splitlines() if ": " in line)
        read += int(words.get("read_bytes", 0))
        written += int(words.get("write_bytes", 0))
    return read, written


def major_faults(pids: Iterable[int]) -> int:
    """Return the number of page faults that waited for a disk, including children that ended."""
    faults = 0
    for pid in pids:
        fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) > _PAGE_FAULTS_OF_CHILDREN:
            faults += int(fields[_PAGE_FAULTS_OWN]) + int(fields[_PAGE_FAULTS_OF_CHILDREN])
    return faults


def listening() -> frozenset[str]:
    """Return the inodes of all listening TCP sockets (proc_pid_net(5))."""
    lines = (_read("/proc/net/tcp") + _read("/proc/net/tcp6")).splitlines()
    rows = (line.split() for line in lines)
    return frozenset(row[9] for row in rows if len(row) > 9 and row[3] == _LISTENS)


def holds_socket(pids: Iterable[int], inodes: frozenset[str]) -> bool:
    """Return whether one of these processes has one of these sockets open."""
    names = {f"socket:[{inode}]" for inode in inodes}
    return any(target in names for pid in pids for target in _open_files(pid))


def files_in_use(pids: Iterable[int]) -> set[str]:
    """Return the files that these processes have open or mapped."""
    paths: set[str] = set()
    for pid in pids:
        paths |= {target for target in _open_files(pid) if target.startswith("/")}
        fields = (line.split(maxsplit=5) for line in _read(f"/proc/{pid}/maps").splitlines())
        paths |= {row[5] for row in fields if len(row) == 6 and row[5].startswith("/")}
    return paths


def _open_files(pid: int) -> list[str]:
    folder, targets = f"/proc/{pid}/fd", []
    try:
        names = os.listdir(folder)  # noqa: PTH208 - ten times a second
    except OSError:
        return []
    for name in names:
        try:
            targets.append(os.readlink(f"{folder}/{name}"))  # noqa: PTH115
        except OSError:
            continue
    return targets


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
