"""Terminal: run the command in a terminal of its own, type Ctrl-C there, and read what it draws."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.command import HANGS_S

CTRL_C = b"\x03"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Screen:
    """What a command drew, and its status: the negative number of a signal that killed it. `alive`: when stopped."""

    status: int
    drawn: str
    alive: bool

    @property
    def text(self) -> str:
        """Return what was drawn, without colours and movements of the cursor; a bar's states follow one another."""
        return _CONTROL.sub("", self.drawn).replace("\r", "")

    @property
    def cursor_is_shown(self) -> bool:
        """Return whether the last change of the cursor showed it."""
        return self.drawn.rfind(SHOW) >= self.drawn.rfind(HIDE)


def in_terminal(
    words: list[str], env: Mapping[str, str], folder: Path, until: str = "", stop: bytes | signal.Signals | None = None
) -> Screen:
    """Run a command in a terminal until it ends; when it has drawn `until`, type `stop` or send that signal."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(words[0], words, {**env, "TERM": "xterm"})
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    drawn, alive, deadline = "", False, time.monotonic() + HANGS_S
    try:
        while time.monotonic() < deadline:
            if select.select([screen], [], [], 0.05)[0]:
                try:
                    read = os.read(screen, 65536)
                except OSError:  # EIO: its last process has closed the terminal
                    break
                drawn += read.decode(errors="replace")
            if stop is not None and until in _CONTROL.sub("", drawn):
                alive = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
                if isinstance(stop, bytes):
                    os.write(screen, stop)
                else:
                    os.kill(pid, stop)
                stop = None
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(screen)
    return Screen(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), drawn, alive)
