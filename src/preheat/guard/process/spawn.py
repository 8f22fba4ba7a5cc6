"""Spawn: start an app below a warden, with its output on pipes."""

from __future__ import annotations

import errno
import itertools
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from preheat.guard.kernel import process_tree
from preheat.guard.kernel.descriptors import inherit_none, restore_limit
from preheat.guard.kernel.quiet_fork import fork
from preheat.guard.model.app import App
from preheat.guard.process import warden
from preheat.guard.process.enclosure import WARDEN, Enclosure

if TYPE_CHECKING:
    import socket

    from preheat.guard.memory_snapshot.restore import Restorable

NOT_EXECUTABLE, NOT_FOUND = 126, 127
_NO_FOLDER, _NO_NETWORK = "folder", "network"


class CannotStart(Exception):
    """The command could not be started; `status` is the exit status that a shell would report; `hint` may be empty."""

    def __init__(self, message: str, status: int, hint: str = "") -> None:
        super().__init__(message)
        self.status, self.hint = status, hint


class CannotRestore(Exception):
    """A memory snapshot could not be restored; the message is the reason."""


class StartedApp(NamedTuple):
    """A started app: the PIDs of the app, its warden, and the guard's own child, and the guard's ends of four pipes.

    The warden is the ancestor of all of the app's processes; `child` is the warden or, if the warden is in a PID
    namespace, the process that waits for it.

    `report` delivers the lines of the warden's report; closing `line` makes the warden kill the remaining processes.
    `door` is the socket to the door process in the app's network namespace, or None.
    """

    pid: int
    warden: int
    child: int
    enclosure: Enclosure
    stdout: int
    stderr: int
    report: int
    line: int
    door: socket.socket | None = None


def spawn(app: App, saved: Restorable | None = None) -> StartedApp:
    """Start `app` in its own session, below a warden, or restore it from its saved memory.

    Raise CannotStart, CannotRestore; ValueError for a null character.
    """
    if any("\0" in word for word in app.command):
        raise ValueError(f"{app.command[0]}: an argument cannot contain a null character")
    if not app.command[0]:
        raise CannotStart("'': there is no such command", NOT_FOUND)
    if saved is not None:
        from preheat.guard.memory_snapshot.restore import restore  # not in the child, which was forked from a thread
    pipes = _pipes(5)
    (
        (stdout, its_stdout),
        (stderr, its_stderr),
        (report, its_report),
        (its_line, line),
        (startup, its_startup),
    ) = pipes
    try:
        enclosure = Enclosure.of(app)
        door, its_door = _door() if app.isolated else (None, None)
    except OSError:
        _close(*itertools.chain(*pipes))
        raise
    ours, theirs = (
        (stdout, stderr, report, line, startup),
        (its_stdout, its_stderr, its_report, its_line, its_startup),
    )
    try:
        keeper = fork()
    except OSError:
        _close(*ours, *theirs)
        enclosure.end()
        raise
    if keeper == 0:
        try:
            # Leave the terminal's session: only the guard handles signals from the terminal.
            os.setsid()
            warden.adopt_orphans()
            other = 0
            if door is not None and its_door is not None:
                door.close()
                other = _isolate(its_door, its_startup, app.reaches)
            enclosure.enter_pids(its_startup, saved is not None)
            if saved is not None:
                child = restore(saved, lambda: enclosure.enter(app.read_only), its_stdout, its_stderr)
                os.write(its_startup, b"%d\n" % child)
            else:
                parent = os.getpid()
                child = os.fork()
                if child == 0:
                    _exec_app(app, enclosure, parent, its_stdout, its_stderr, its_startup)
            other = 0 if enclosure.own_pids else other  # then it is a child of the process outside
            warden.watch(child, its_line, its_report, lambda: enclosure.clear(child), other)
        finally:
            os._exit(1)
    _close(*theirs)
    if its_door is not None:
        its_door.close()
    words = _read_all(startup).split()
    os.close(startup)
    # The two processes write their lines in any order.
    wardens = [word[len(WARDEN) :] for word in words if word.startswith(WARDEN)]
    words = [word for word in words if not word.startswith(WARDEN)]
    its_warden = int(wardens[0]) if wardens else keeper
    pid = int(words[0]) if words else 0
    if pid and wardens:
        pid = process_tree.child_of(its_warden, pid)
    if len(words) != 1 or pid == 0:
        _close(stdout, stderr, report, line)
        if door is not None:
            door.close()
        os.waitpid(keeper, 0)
        enclosure.end()
        if saved is not None:
            raise CannotRestore("CRIU could not restore it")
        raise _start_error(app, words[1:])
    return StartedApp(pid, its_warden, keeper, enclosure, stdout, stderr, report, line, door)


def _door() -> tuple[socket.socket, socket.socket]:
    import socket  # only isolated apps need it, and every app waits for its import

    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _isolate(its_door: socket.socket, its_startup: int, reaches: tuple[int, ...]) -> int:
    """Move this process to its own network namespace, start the door process, and return its PID.

    On failure, report the error to `its_startup` and exit.
    """
    from preheat.guard.net import network_namespace

    try:
        network_namespace.enter()
        return network_namespace.keep_door(its_door, reaches)
    except OSError as error:
        os.write(its_startup, f"0\n{error.errno or errno.EIO} {_NO_NETWORK}\n".encode("ascii"))
        os._exit(1)


def _exec_app(app: App, enclosure: Enclosure, parent: int, stdout: int, stderr: int, startup: int) -> None:
    """Replace this process by the app; on failure, report the error to `startup` and exit. Never returns."""
    number, what = 0, ""
    try:
        os.write(startup, b"%d\n" % os.getpid())
        os.setsid()
        warden.die_with(parent)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        inherit_none()
        restore_limit()
        for ignored in ("SIGPIPE", "SIGXFSZ"):
            # Python ignores these signals, and exec(2) would keep them ignored.
            if hasattr(signal, ignored):
                signal.signal(getattr(signal, ignored), signal.SIG_DFL)
        enclosure.enter(app.read_only)
        if app.freezable:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # here, since CRIU knows a file by its mount
        if app.cwd is not None:
            what = _NO_FOLDER
            os.chdir(app.cwd)
            what = ""
        env = os.environ if app.env is None else dict(app.env)
        os.execvpe(app.command[0], list(app.command), env)  # noqa: S606 - starting programs is the purpose
    except OSError as error:
        number = error.errno or errno.EIO
    finally:
        with suppress(OSError):
            os.write(startup, f"{number} {what}\n".encode("ascii"))
        os._exit(NOT_FOUND)


def _start_error(app: App, words: list[bytes]) -> CannotStart:
    number = int(words[0]) if words else errno.EIO
    if words[1:] == [_NO_NETWORK.encode()]:
        return CannotStart(f"cannot create a network namespace: {os.strerror(number)}", NOT_EXECUTABLE)
    if words[1:] == [_NO_FOLDER.encode()]:
        if number in (errno.ENOENT, errno.ENOTDIR):
            return CannotStart(f"{app.command[0]}: {app.cwd} is not a folder", NOT_FOUND)
        return CannotStart(f"{app.command[0]}: {app.cwd}: {os.strerror(number)}", NOT_EXECUTABLE)
    from preheat.guard.process.program_file import HINT, why_not_started

    env = os.environ if app.env is None else app.env
    if why := why_not_started(app.command[0], number, app.cwd, env):
        status = NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE
        return CannotStart(f"{app.command[0]} cannot be started: {why}", status, HINT)
    if number in (errno.ENOENT, errno.ENOTDIR):
        return CannotStart(f"{app.command[0]}: there is no such command", NOT_FOUND)
    return CannotStart(f"{app.command[0]}: {os.strerror(number)}", NOT_EXECUTABLE)


def _read_all(descriptor: int) -> bytes:
    data = b""
    while True:
        more = os.read(descriptor, 4096)
        if not more:
            return data
        data += more


def _pipes(count: int) -> list[tuple[int, int]]:
    made: list[tuple[int, int]] = []
    try:
        made.extend(os.pipe() for _ in range(count))
    except OSError:
        _close(*itertools.chain(*made))
        raise
    return made


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
