"""File opens: observe which files a program opens, including native code, as far as permissions allow.

With CAP_SYS_ADMIN, it uses fanotify(7): the kernel reports each open and close on the relevant mounts. Otherwise it
polls /proc/PID/fd and /proc/PID/maps of the program's processes, and misses files that are opened and closed between
two polls. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable, Sequence

from preheat.guard.kernel import namespaces, process_tree

FANOTIFY, PROC = "fanotify", "proc"

# include/uapi/linux/fanotify.h
_CLOEXEC, _NONBLOCK, _UNLIMITED = 0x1, 0x2, 0x10
_ADD, _MOUNT, _FLUSH = 0x1, 0x10, 0x80
_OPEN, _CLOSE_WRITE, _CLOSE_READ, _OVERFLOW = 0x20, 0x8, 0x10, 0x4000
_EVENT = struct.Struct("=IBBHQii")
_AT_FDCWD = -100
_PSEUDO = frozenset(
    (b"proc", b"sysfs", b"devpts", b"devtmpfs", b"cgroup", b"cgroup2", b"mqueue", b"securityfs", b"debugfs")
)
_LOOK_EVERY_S = 0.05
_FAMILY_EVERY_S = 0.5
# On a busy machine, events may arrive faster than they are read; events not read within this time set `lost`.
_DRAIN_S = 10.0
_GIVE_UP_S = 5.0
# How long, and for how many processes, family membership is cached; PIDs may be reused.
_KNOWN_S = 1.0
_MOST_KNOWN = 4096


@dataclass(frozen=True)
class Open:
    """A file that was opened at `at` (time.time()); `wrote` if it was opened for writing.

    `read` is the number of bytes read or mapped, with repeated reads counted each time; None if unknown.
    """

    path: str
    at: float
    wrote: bool
    read: int | None = None


class Opens:
    """Record the files below `folders` that the process `root()` and its family open, until `close`.

    With `beneath`, what `root()` itself opens is not recorded: a warden has the files of the process that forked it.

    A process that ended before its event was read counts as one of the family, except below the folders `others`, where
    other programs than the family open many files.
    `root` returns a PID, or 0 before the start. `how` is the method used; `lost` is set if events were lost. With
    `kernel` False, fanotify is not used. `close` takes at most 15 seconds, however many files other processes open.
    """

    def __init__(
        self,
        folders: Sequence[str],
        root: Callable[[], int],
        *,
        kernel: bool = True,
        others: Sequence[str] = (),
        beneath: bool = False,
    ) -> None:
        self._folders = tuple(os.path.realpath(folder).rstrip("/") + "/" for folder in folders)
        self._others = tuple(os.path.realpath(folder).rstrip("/") + "/" for folder in others)
        self._root = root
        self._beneath = beneath
        self._found: dict[tuple[str, bool], Open] = {}
        self._began: dict[str, float] = {}
        self._kin: dict[int, tuple[bool, float]] = {}
        self._closing = threading.Event()
        self._enough: Callable[[], bool] = lambda: False
        self.lost = False
        self._fanotify = _listen(self._folders) if kernel else None
        self.how = PROC if self._fanotify is None else FANOTIFY
        work = self._look if self._fanotify is None else self._listen
        self._thread = threading.Thread(target=work, name="opens", daemon=True)
        self._thread.start()

    def close(self, enough: Callable[[], bool] = lambda: False) -> list[Open]:
        """Stop recording; return the opens in order. Pending events are read until `enough()`, at most 10 seconds."""
        self._enough = enough
        if self._fanotify is not None:
            # Stop new events, so that only those of earlier opens are pending.
            _unmark(self._fanotify)
        self._closing.set()
        self._thread.join(_DRAIN_S + _GIVE_UP_S)
        if self._thread.is_alive():
            self.lost = True  # the thread still uses the descriptor, so do not close it
        elif self._fanotify is not None:
            os.close(self._fanotify)
        return sorted(self._found.copy().values(), key=lambda one: one.at)

    def _matters(self, path: str) -> bool:
        return path.startswith(self._folders) and not path.endswith(" (deleted)")

    def _of_family(self, pid: int) -> bool | None:
        """Return whether a process belongs to the program; None if it has ended, and was not seen before."""
        root = self._root()
        if not root or (self._beneath and pid == root):
            return False
        now = time.monotonic()
        known, until = self._kin.get(pid, (False, 0.0))
        if now < until:
            return known
        belongs = process_tree.belongs(pid, root)
        if belongs is None:
            # It has ended: use the cached result, if any.
            return known if until else None
        if len(self._kin) >= _MOST_KNOWN:
            self._kin.clear()
        self._kin[pid] = (belongs, now + _KNOWN_S)
        return belongs

    def _note(self, path: str, at: float, *, wrote: bool) -> None:
        self._found.setdefault((path, wrote), Open(path, at, wrote))

    # ---- fanotify

    def _listen(self) -> None:
        assert self._fanotify is not None
        waiting = select.poll()
        waiting.register(self._fanotify, select.POLLIN)
        deadline = 0.0
        while True:
            closing = self._closing.is_set()  # read events that are already pending
            if closing and not deadline:
                deadline = time.monotonic() + _DRAIN_S
            if closing and (time.monotonic() > deadline or self._enough()):
                self.lost = True
                return
            if waiting.poll(0 if closing else 100):
                with suppress(BlockingIOError):
                    self._take(os.read(self._fanotify, 1 << 16))
            elif closing:
                return

    def _take(self, events: bytes) -> None:
        now, at, ours = time.time(), 0, os.getpid()
        while at < len(events):
            length, _, _, _, mask, file, pid = _EVENT.unpack_from(events, at)
            at += length
            if mask & _OVERFLOW:
                self.lost = True
            if file < 0:
                continue
            path = ""
            belongs = pid != ours and self._of_family(pid)
            if belongs is not False:
                with suppress(OSError):
                    path = os.readlink("/proc/self/fd/%d" % file)
            if belongs is None and path.startswith(self._others):
                path = ""
            os.close(file)
            if not self._matters(path):
                continue
            if mask & _OPEN:
                self._began.setdefault(path, now)
            # Only the close event reports whether the file was open for writing.
            began = self._began.get(path, now)
            if mask & _CLOSE_READ:
                self._note(path, began, wrote=False)
            if mask & _CLOSE_WRITE:
                self._note(path, began, wrote=True)

    # ---- /proc

    def _look(self) -> None:
        members: list[int] = []
        looked = 0.0
        while not self._closing.wait(_LOOK_EVERY_S):
            root, now = self._root(), time.monotonic()
            if root and now - looked > _FAMILY_EVERY_S:
                family = [member.pid for member in process_tree.family(root)]
                members, looked = [pid for pid in family if not self._beneath or pid != root], now
            for pid in members:
                for path in _open_files(pid):
                    if self._matters(path):
                        self._note(path, time.time(), wrote=False)
                if self._closing.is_set():
                    break


def _open_files(pid: int) -> list[str]:
    """List the files that a process has open or mapped now, without those open only for writing."""
    found = []
    with suppress(OSError, ValueError):
        for name in os.listdir("/proc/%d/fd" % pid):
            with suppress(OSError):
                path = os.readlink("/proc/%d/fd/%s" % (pid, name))
                if path.startswith("/") and not _only_written(pid, name):
                    found.append(path)
        found += set(process_tree.mapped_paths(pid))
    return found


def _only_written(pid: int, name: str) -> bool:
    with open("/proc/%d/fdinfo/%s" % (pid, name), encoding="ascii") as lines:
        flags = next((line.split()[1] for line in lines if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE == os.O_WRONLY


def _listen(folders: Sequence[str]) -> int | None:
    """Return a fanotify descriptor that watches the mounts of `folders`; None if that is not permitted."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        listening: int = libc.fanotify_init(_CLOEXEC | _NONBLOCK | _UNLIMITED, os.O_RDONLY | os.O_CLOEXEC)
        if listening < 0:
            return None
        mark = libc.fanotify_mark
        mark.argtypes = (ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p)
        what = _OPEN | _CLOSE_WRITE | _CLOSE_READ
        for folder in folders:
            if mark(listening, _ADD | _MOUNT, what, _AT_FDCWD, os.fsencode(folder)) < 0:
                os.close(listening)
                return None
        for point in _mounts_below(folders):
            mark(listening, _ADD | _MOUNT, what, _AT_FDCWD, point)  # ignore errors: holds no app files
    except (OSError, AttributeError):
        return None
    return listening


def _unmark(listening: int) -> None:
    """Stop new events; pending ones remain readable."""
    with suppress(OSError, AttributeError):
        mark = ctypes.CDLL(None).fanotify_mark
        mark.argtypes = (ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p)
        mark(listening, _FLUSH | _MOUNT, 0, _AT_FDCWD, None)


def _mounts_below(folders: Sequence[str]) -> list[bytes]:
    """List the mount points below the folders that contain real files."""
    return [
        os.fsencode(point)
        for point, kind in namespaces.mount_points()
        if kind not in _PSEUDO and (point + "/").startswith(tuple(folders))
    ]
