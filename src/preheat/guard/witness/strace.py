"""Strace: observe which files a program opens and how many bytes it reads, with strace(1).

Used where fanotify is not permitted. Its logs, one file per thread, contain calls and paths, but no file contents.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from dataclasses import replace
from typing import Callable, Iterator, Sequence

from preheat.guard.witness.file_opens import Open

STRACE = "strace"

_OPENING = ("open", "openat", "openat2", "creat")
_READING = ("read", "readv", "pread64", "preadv", "preadv2")
_AMOUNTS = (*_READING, "mmap")
# -DDD: run strace in its own session, protected from signals to the app: without its tracer, the filtered program could
# not open files any more. --seccomp-bpf: only the listed calls are slowed down. -ff: one log file per thread.
_WORDS = ("-DDD", "-ff", "-qq", "-ttt", "-y", "-s", "0", "--seccomp-bpf", "-I", "never", "-e", "signal=none")
_TRIED_S = 10.0
# Logs not read within this time set `lost`.
_READ_S = 120.0
_LINES = 4096
_LINE = re.compile(r"(\d+\.\d+) (\w+)\((.*)\) += (0x[0-9a-f]{1,16}|[0-9]{1,20})(?:<(.*)>)?$")
_FILE = re.compile(r"(?:^|, )\d+<([^<>]*)>")
_MAPPED = re.compile(r"\w+, ([0-9]{1,20}), ([A-Z_|]+), ")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"b": b"\b", b"a": b"\a"}


class Strace:
    """Record the files opened by a program that is started with `around`; strace writes its logs to `folder`.

    With `amounts`, reads and mappings are logged too: a program that maps memory for compiled code, as numba does, then
    takes many times as long. `lost` is set if not all logs could be read.
    """

    how = STRACE

    def __init__(self, folder: str, *, amounts: bool = False) -> None:
        self._folder, self._amounts = folder, amounts
        self.lost = False

    @staticmethod
    def available() -> bool:
        """Return whether strace is installed and permitted to trace, by a test run."""
        if shutil.which(STRACE) is None:
            return False
        try:
            with tempfile.TemporaryDirectory() as folder:
                trial = [STRACE, *_WORDS, "-o", os.path.join(folder, "calls"), "-e", "trace=open", "--", "true"]
                done = subprocess.run(
                    trial, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIED_S
                )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0 and not done.stderr

    def around(self, command: Sequence[str]) -> tuple[str, ...]:
        """Return the command line that runs `command` under strace, with unchanged PID, exit status and signals."""
        notes = os.path.join(self._folder, "calls")
        calls = (*_OPENING, *_AMOUNTS) if self._amounts else _OPENING
        return (STRACE, *_WORDS, "-o", notes, "-e", "trace=" + ",".join(calls), "--", *command)

    def close(self, enough: Callable[[], bool] = lambda: False) -> list[Open]:
        """Return the opens in order.

        Read the logs as written so far, until `enough()` or for two minutes; set `lost` if some were not read.
        """
        deadline = time.monotonic() + _READ_S
        found: dict[tuple[str, bool], Open] = {}
        read: dict[str, int] = {}
        for name in sorted(os.listdir(self._folder)):
            for lines in _read_notes(os.path.join(self._folder, name)):
                if enough() or time.monotonic() > deadline:
                    self.lost = True
                    break
                for line in lines:
                    self._take(line, found, read)
        if self._amounts:
            found = {key: replace(one, read=0 if one.wrote else read.get(one.path, 0)) for key, one in found.items()}
        return sorted(found.values(), key=lambda one: one.at)

    def _take(self, line: str, found: dict[tuple[str, bool], Open], read: dict[str, int]) -> None:
        match = _LINE.match(line)
        if match is None:
            return  # a failed call, or a truncated line
        at, call, words, result, opened = match.groups()
        if call in _OPENING:
            path, wrote = _plain(opened or ""), call == "creat" or "O_WRONLY" in words or "O_RDWR" in words
            if _is_file(path) and ((path, wrote) not in found or found[path, wrote].at > float(at)):
                found[path, wrote] = Open(path, float(at), wrote)
        else:
            for path, size in _read(call, words, result):
                read[path] = read.get(path, 0) + size


def _read_notes(path: str) -> Iterator[list[str]]:
    """Yield the lines that a log has at the time of the call, in batches; a running program may append more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    with open(descriptor, encoding="latin-1") as notes:
        status = os.fstat(descriptor)
        # The app can write anything to this folder.
        left = status.st_size if stat.S_ISREG(status.st_mode) else 0
        while left > 0:
            lines = list(itertools.islice(notes, _LINES))
            if not lines:
                return
            left -= sum(map(len, lines))
            yield lines


def _read(call: str, words: str, result: str) -> Iterator[tuple[str, int]]:
    """Yield the file and the number of bytes that a call read or mapped; executable mappings are skipped."""
    file = _FILE.search(words)
    path = _plain(file.group(1)) if file is not None else ""
    if not _is_file(path):
        return
    if call == "mmap":
        mapped = _MAPPED.match(words)
        if mapped is not None and "PROT_EXEC" not in mapped.group(2):
            yield path, int(mapped.group(1))
    else:
        yield path, int(result, 0)


def _is_file(path: str) -> bool:
    return path.startswith("/") and not path.startswith(("/proc/", "/sys/", "/dev/")) and not path.endswith("(deleted)")


def _plain(shown: str) -> str:
    """Decode the escape sequences that strace prints in paths."""

    def byte(found: re.Match[bytes]) -> bytes:
        what = found.group(1)
        if what[:1] == b"x" and len(what) > 1:
            return bytes([int(what[1:], 16)])
        return bytes([int(what, 8) & 0xFF]) if what[:1] in b"01234567" else _LETTERS.get(what, what)

    return os.fsdecode(_ESCAPE.sub(byte, shown.encode("latin-1")))
