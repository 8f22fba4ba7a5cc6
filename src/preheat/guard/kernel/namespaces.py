"""Namespaces: move this process to user, mount, PID and network namespaces, and mount in them; see namespaces(7).

All functions raise OSError if the kernel refuses.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from contextlib import suppress
from typing import Callable, Iterable, Iterator, Sequence

from preheat.guard.kernel.quiet_fork import fork

# linux/sched.h, linux/mount.h
MOUNTS, USER, PIDS, NETWORK = 0x00020000, 0x10000000, 0x20000000, 0x40000000
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC, REMOUNT, BIND, RECURSIVE, SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 19
_DETACH = 2
_RELATIME = 1 << 21
# mount_setattr(2): its number is the same on all architectures.
_MOUNT_SETATTR, _HERE, _AT_RECURSIVE, _ATTRIBUTE_READ_ONLY = 442, -100, 0x8000, 1
# Mount flags to preserve: nosuid, nodev, noexec, noatime and nodiratime have the same bits in statvfs(3).
_KEPT = 2 | 4 | 8 | 1024 | 2048
_ST_RELATIME = 4096


def unshare(kinds: int) -> None:
    """Move this process to new namespaces of these kinds; with PIDS, only its future children."""
    if _libc().unshare(kinds) != 0:
        raise _error("unshare")


def join(pid: int, kinds: Sequence[str]) -> None:
    """Enter the namespaces of another process, named as in /proc/PID/ns; with `pid`, only for future children."""
    files = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in kinds]
    for kind, file in zip(kinds, files):
        if _libc().setns(file, 0) != 0:
            raise _error("setns", kind)
        os.close(file)


def own_mounts() -> None:
    """Enter a new mount namespace: later mounts of the host still appear in it, but mounts made here stay private."""
    unshare(MOUNTS)
    mount("none", "/", RECURSIVE | SLAVE)


def mount(source: str, target: str, flags: int, kind: str = "none", options: str = "") -> None:
    """Attach a file system, or a part of one with BIND, at `target`."""
    words = (os.fsencode(source), os.fsencode(target), os.fsencode(kind))
    if _libc().mount(*words, ctypes.c_ulong(flags), os.fsencode(options) if options else None) != 0:
        raise _error("mount", target)


def unmount(target: str) -> None:
    """Detach what is mounted at `target`, with all mounts below it, even if it is in use."""
    if _libc().umount2(os.fsencode(target), _DETACH) != 0:
        raise _error("umount", target)


def mount_points() -> list[tuple[str, bytes]]:
    """List the mount points of this namespace, each with the type of its file system: proc_pid_mountinfo(5)."""
    found = []
    with open("/proc/self/mountinfo", "rb") as lines:
        for line in lines:
            front, _, back = line.partition(b" - ")
            # Spaces, tabs, line ends and backslashes in a path are escaped as octal digits.
            point = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), front.split()[4])
            found.append((os.fsdecode(point), back.split()[0]))
    return found


def mount_read_only(folder: str) -> None:
    """Mount a folder over itself, without permission to write; before Linux 5.12, mounts below it stay writable."""
    mount(folder, folder, BIND | RECURSIVE)
    attributes = struct.pack("=4Q", _ATTRIBUTE_READ_ONLY, 0, 0, 0)
    where = (ctypes.c_int(_HERE), os.fsencode(folder), ctypes.c_uint(_AT_RECURSIVE))
    size = ctypes.c_size_t(len(attributes))
    if _libc().syscall(ctypes.c_long(_MOUNT_SETATTR), *where, attributes, size) == 0:
        return
    known = os.statvfs(folder).f_flag
    flags = known & _KEPT | (_RELATIME if known & _ST_RELATIME else 0)
    mount("none", folder, BIND | REMOUNT | READ_ONLY | flags)


def mount_proc() -> None:
    """Mount a /proc that shows the processes of this PID namespace. The mount namespace must be a new one."""
    mount("proc", "/proc", NO_SUID | NO_DEVICES | NO_EXEC, "proc")


def count_pids_from(pid: int) -> None:
    """Let the next process in this PID namespace have a PID above `pid`, if the kernel supports that.

    With the same PIDs after each start, an app would take its own old PID file for that of a running instance.
    """
    with suppress(OSError):
        _write("/proc/sys/kernel/ns_last_pid", str(pid))


def own_user(kinds: int = 0, *, as_root: bool = False) -> None:
    """Enter a new user namespace, and further ones of these `kinds`; only this user and this group are mapped.

    They keep their numbers; with `as_root`, they are root and its group in the namespace.
    """
    user, group = os.geteuid(), os.getegid()
    unshare(USER | kinds)
    # As the overflow user, the app could not read its files.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{0 if as_root else user} {user} 1")
    _write("/proc/self/gid_map", f"{0 if as_root else group} {group} 1")


def is_initial_user() -> bool:
    """Return whether this process is in the user namespace of the host, or another that has all of its user IDs."""
    try:
        with open("/proc/self/uid_map", encoding="ascii") as lines:
            return lines.readline().split()[1:] == ["0", "4294967295"]
    except OSError:
        return True


def permits_own_user() -> bool:
    """Return whether this process can create user, PID and mount namespaces, and mount /proc; a child tries it."""

    def inside() -> None:
        own_mounts()
        mount_proc()

    return succeed(lambda: own_user(PIDS, as_root=True), inside)


def succeed(enter: Callable[[], None], inside: Callable[[], None]) -> bool:
    """Return whether `enter` succeeds in a child of this process, and `inside` in a child of that child."""
    child = fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    status = 1
    try:
        enter()
        first = os.fork()  # only children are in a new PID namespace
        if first == 0:
            inside()
            status = 0
        else:
            status = os.waitpid(first, 0)[1] and 1
    finally:
        os._exit(status)


def give_up_privileges() -> None:
    """Enter new user and mount namespaces with the same user IDs, where root has no privileges on the host.

    The mounts made before can then not be removed, and no namespace of the host can be entered.
    """
    if os.geteuid() != 0:
        own_user(MOUNTS)
        return
    # Only a process outside may map users other than its own.
    me = os.getpid()
    entered, enter = os.pipe()
    mapper = os.fork()
    if mapper == 0:
        status = 1
        try:
            os.close(enter)
            if os.read(entered, 1):
                for which in ("uid_map", "gid_map"):
                    with open(f"/proc/self/{which}", encoding="ascii") as known:
                        _write(f"/proc/{me}/{which}", "".join(f"{n} {n} {size}\n" for n, size in _ranges(known)))
                status = 0
        finally:
            os._exit(status)
    os.close(entered)
    try:
        unshare(USER | MOUNTS)
        os.write(enter, b"!")
    finally:
        os.close(enter)
        _, status = os.waitpid(mapper, 0)
    if status:
        raise OSError(1, "mapping users")


def _ranges(lines: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Parse a uid_map or gid_map of user_namespaces(7); return the first ID and the size of each range."""
    for line in lines:
        first, _, size = line.split()
        yield int(first), int(size)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _error(call: str, path: str = "") -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{call}: {os.strerror(code)}", path or None)


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(text.encode("ascii"))
