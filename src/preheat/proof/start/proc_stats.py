"""Proc stats: memory, reads, writes, page faults and sockets of an app's processes, from /proc."""

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from preheat.guard.kernel.process_tree import mapped_paths

_PAGE_FAULTS_OWN, _PAGE_FAULTS_OF_CHILDREN = 9, 10  # fields of proc_pid_stat(5), counted after the name
_NO_FILES = ("/dev/null", "/dev/pts/", "/dev/tty", "/dev/nvidia", "/proc/", "/sys/")


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


def holds_socket(pids: Iterable[int], sockets: frozenset[str]) -> bool:
    """Return whether one of these processes has one of these sockets open, named as the links in /proc/PID/fd."""
    return any(target in sockets for pid in pids for target in _open_files(pid).values())


def files_in_use(pids: Iterable[int]) -> tuple[set[str], set[str]]:
    """Return the files that these processes have open or mapped, and those of them that are open for writing."""
    paths: set[str] = set()
    written: set[str] = set()
    for pid in pids:
        for descriptor, target in _open_files(pid).items():
            if target.startswith("/") and not target.startswith(_NO_FILES):
                paths.add(target)
                if target not in written and _is_for_writing(descriptor):
                    written.add(target)
        paths.update(mapped_paths(pid))
    return paths, written


def _open_files(pid: int) -> dict[str, str]:
    """Return the targets of a process's open descriptors by the descriptors' paths in /proc."""
    folder, targets = f"/proc/{pid}/fd", {}
    try:
        names = os.listdir(folder)  # noqa: PTH208 - ten times a second
    except OSError:
        return {}
    for name in names:
        try:
            targets[f"{folder}/{name}"] = os.readlink(f"{folder}/{name}")  # noqa: PTH115
        except OSError:
            continue
    return targets


def _is_for_writing(descriptor: str) -> bool:
    """Return whether a descriptor is open for writing: the mode of its link says so (proc_pid_fd(5))."""
    try:
        return bool(os.lstat(descriptor).st_mode & stat.S_IWUSR)
    except OSError:
        return False


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
