"""Process tree: list the processes in /proc, find those that descend from an app, and read their memory maps."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import Iterator, NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TGID = rb"(?m)^Tgid:\s*(\d+)"


class ProcessStat(NamedTuple):
    """A process: its parent, process group and session, its state as one letter, and its resident bytes.

    `started` is when it was started, in clock ticks since boot.
    """

    pid: int
    parent: int
    group: int
    session: int
    state: str
    started: int
    resident: int

    @property
    def dead(self) -> bool:
        """Return whether it has ended, but may not be reaped yet."""
        return self.state in "ZXx"


class MappedPart(NamedTuple):
    """A part of a file in a process's memory: the addresses `begin` to `end`, and the `offset` in the file."""

    path: str
    begin: int
    end: int
    offset: int


def members() -> list[ProcessStat]:
    """List all processes; empty without /proc."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    found = (_member(int(name)) for name in names if name.isdigit())
    return [member for member in found if member is not None]


def group(leader: int) -> list[ProcessStat]:
    """List the live processes of a process group."""
    return [member for member in members() if member.group == leader and not member.dead]


def family(root: int) -> list[ProcessStat]:
    """List `root`, its descendants, and the processes in a session that one of them leads.

    The session identifies processes whose parent has died.
    """
    everybody = members()
    pids = {root}
    while True:
        more = {m.pid for m in everybody if m.pid not in pids and (m.parent in pids or m.session in pids)}
        if not more:
            return [member for member in everybody if member.pid in pids]
        pids |= more


def children(pid: int) -> list[int] | None:
    """List the children of a single-threaded process; None if the kernel cannot list them."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb", buffering=0) as file:
            return [int(child) for child in file.readall().split()]
    except OSError:
        return None


def child_of(parent: int, number: int) -> int:
    """Return the PID of the child of `parent` that has the PID `number` in its own PID namespace; 0 if not found."""
    for child in children(parent) or [member.pid for member in members() if member.parent == parent]:
        if inner_pid(child) == number:
            return child
    return 0


def inner_pid(pid: int) -> int:
    """Return the PID that a process has in its own PID namespace; 0 if it has ended, or if the kernel does not say."""
    found = re.search(rb"(?m)^NSpid:.*\s(\d+)$", _read(f"/proc/{pid}/status", 4096))
    return int(found[1]) if found else 0


def belongs(pid: int, root: int) -> bool | None:
    """Return whether a process belongs to family(root); None if it has ended. Reads only its ancestors in /proc."""
    waiting, known = [pid], {0, 1}
    while waiting:
        one = waiting.pop()
        if one == root:
            return True
        if one in known:
            continue
        known.add(one)
        member = _member(one)
        if member is not None:
            waiting += (member.parent, member.session)
        elif one == pid:
            return None
    return False


def name(pid: int) -> str:
    """Return a process's name, or "" if it has ended."""
    return _read(f"/proc/{pid}/comm").rstrip(b"\n").decode("utf-8", "replace")


def process_of(thread: int) -> int:
    """Return the PID of the process of a thread; the thread's own ID if it has ended."""
    found = re.search(_TGID, _read(f"/proc/{thread}/status"))
    return int(found[1]) if found else thread


def _read(path: str, most: int = 512) -> bytes:
    # Avoid open(): it takes twice as long as the system calls, and an app may be waiting for this.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(file, most)
    except OSError:
        return b""
    finally:
        os.close(file)


def _member(pid: int) -> ProcessStat | None:
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    # The name, in parentheses, may itself contain parentheses and spaces: proc_pid_stat(5).
    fields = stat.rpartition(b")")[2].decode("ascii").split()
    return ProcessStat(
        pid=pid,
        state=fields[0],
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        started=int(fields[19]),
        resident=int(fields[21]) * _PAGE,
    )


def mapped_parts(pid: int) -> Iterator[MappedPart]:
    """Yield what a process has mapped of files, devices and shared memory, without deleted files: proc_pid_maps(5).

    Raise OSError if the map is not readable.
    """
    for path, fields in _mapped(pid):
        begin, _, end = fields[0].partition(b"-")
        yield MappedPart(path, int(begin, 16), int(end, 16), int(fields[2], 16))


def mapped_paths(pid: int) -> Iterator[str]:
    """Yield the paths of what a process has mapped, once for each part; none if the map is not readable."""
    with suppress(OSError):
        for path, _ in _mapped(pid):
            yield path


def _mapped(pid: int) -> Iterator[tuple[str, list[bytes]]]:
    with open(f"/proc/{pid}/maps", "rb") as lines:
        for line in lines:
            fields = line.rstrip(b"\n").split(None, 5)
            if len(fields) == 6 and fields[5].startswith(b"/") and not fields[5].endswith(b" (deleted)"):
                # A newline is the only character that is escaped there.
                yield os.fsdecode(fields[5].replace(rb"\012", b"\n")), fields
