"""Freeze: dump a running app to files with CRIU, after which it runs on."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable, Sequence

from preheat.guard.kernel import namespaces, process_tree
from preheat.guard.kernel.descriptors import discard_standard_streams, inherit_none
from preheat.guard.kernel.ports import open_links, remote_peers
from preheat.guard.kernel.quiet_fork import fork
from preheat.guard.memory_snapshot.criu import CannotFreeze, Criu
from preheat.guard.memory_snapshot.intact import Unusable, require_unshared
from preheat.guard.memory_snapshot.loaded_files import code_digest, mapped_files
from preheat.guard.memory_snapshot.saved_memory import REPORTS, SavedMemory, publish, remove

_GPU = ("/dev/nvidia", "/dev/kfd", "/dev/dri/")
_QUIET_WITHIN_S = 10.0
_GLANCE_S = 0.1
_NO_ERRORS = ("rlimit:", "net: Unexpected error", "tun:")  # CRIU tries these, and does without them
_SPARE = 256 << 20  # bytes that a dump must leave free on its disk


@dataclass(frozen=True)
class Freezable:
    """An app that is ready: its PID and its warden's, the port that the guard chose (0: none), and its start's seconds.

    `pipes` are the pipes of its output, named as the links in /proc/PID/fd. `code` are the folders with its code and
    settings, and with its packages.
    """

    pid: int
    warden: int
    port: int
    start_s: float
    pipes: Sequence[str]
    code: Sequence[str] = ()


def freeze(app: Freezable, criu: Criu, folder: str, key: str, closed: Callable[[], bool]) -> SavedMemory:
    """Dump `app` into `folder`; return the memory snapshot. The app stands still meanwhile.

    Waits for up to 10 seconds while the app has connections to other machines. Raise CannotFreeze; the app runs on, and
    nothing is left in `folder`.
    """
    made = f"{folder}.new-{os.getpid()}"
    try:
        _wait_until_quiet(app, closed)
        family = [member for member in process_tree.family(app.pid) if not member.dead]
        pids = [member.pid for member in family]
        _require_no_gpu(pids)
        _require_no_orphans(app)
        resident = sum(member.resident for member in family)
        place = os.path.dirname(folder)
        os.makedirs(place, mode=0o700, exist_ok=True)
        require_unshared(place)
        _require_room(place, resident)
        saved = SavedMemory(
            folder=folder,
            key=key,
            pid=_inner_pid(app.pid),
            pipes=list(app.pipes),
            port=app.port,
            start_s=app.start_s,
            resident=resident,
            taken=time.time(),
            loaded=mapped_files(pids),
            code={place: code_digest(place) for place in app.code},
        )
        os.mkdir(made, 0o700)
        _dump(app.pid, criu.dump(saved.pid, made, saved.pipes), made)
        for name in REPORTS:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(made, name))
        return publish(saved, made)
    except (OSError, ValueError, Unusable) as error:
        raise CannotFreeze(getattr(error, "strerror", None) or str(error)) from error
    finally:
        if os.path.isdir(made):
            remove(made)


def _dump(pid: int, command: Sequence[str], made: str) -> None:
    """Run CRIU in the namespaces of the app, where it sees the app's own PIDs and mounts. Raise CannotFreeze."""
    child = fork()
    if child == 0:
        status = 1
        try:
            namespaces.join(pid, ("pid", "mnt") if os.geteuid() == 0 else ("user", "pid", "mnt"))
            inner = os.fork()  # only children are in the PID namespace
            if inner == 0:
                _become(command)
            status = _exit_status(os.waitpid(inner, 0)[1])
        finally:
            os._exit(status)
    if _exit_status(os.waitpid(child, 0)[1]) != 0:
        raise CannotFreeze(_last_error(os.path.join(made, "log")))


def _become(command: Sequence[str]) -> None:
    try:
        inherit_none()
        discard_standard_streams()
        os.execv(command[0], list(command))  # noqa: S606 - CRIU
    finally:
        os._exit(127)


def _exit_status(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1


def _last_error(log: str) -> str:
    """Return the first error in the log of CRIU, which has the cause; the later ones only report that it gave up."""
    try:
        with open(log, encoding="utf-8", errors="replace") as lines:
            errors = [line.partition("): ")[2].strip() for line in lines if "Error (" in line]
    except OSError:
        errors = []
    errors = [words for words in errors if not words.startswith(_NO_ERRORS)]
    return f"CRIU: {errors[0][:200]}" if errors else "CRIU failed without a message"


def _wait_until_quiet(app: Freezable, closed: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _QUIET_WITHIN_S
    while True:
        peers = remote_peers({member.pid for member in process_tree.family(app.pid)})
        if closed():
            raise CannotFreeze("the app is being stopped")
        if not peers:
            return
        if time.monotonic() > deadline:
            raise CannotFreeze(f"the app holds a connection to {sorted(peers)[0]}")
        time.sleep(_GLANCE_S)


def _require_no_gpu(pids: Sequence[int]) -> None:
    """Raise CannotFreeze for an app that uses a GPU. cuda-checkpoint(1) could save its memory first, from here."""
    if any(link.startswith(_GPU) for pid in pids for link in (*open_links(pid), *process_tree.mapped_paths(pid))):
        raise CannotFreeze("the app uses a GPU, whose memory cannot be saved yet")


def _require_no_orphans(app: Freezable) -> None:
    detached = [pid for pid in process_tree.children(app.warden) or () if pid != app.pid]
    if detached:
        raise CannotFreeze(f"process {process_tree.name(detached[0])!r} of the app has detached itself")


def _require_room(folder: str, resident: int) -> None:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < resident + _SPARE:
        raise CannotFreeze(f"{folder} has {free >> 20} MiB free, and the app uses {resident >> 20} MiB of memory")


def _inner_pid(pid: int) -> int:
    found = process_tree.inner_pid(pid)
    if not found:
        raise CannotFreeze("the kernel does not report the app's PID in its namespace")
    return found
