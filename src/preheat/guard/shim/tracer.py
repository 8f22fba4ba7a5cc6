"""Tracer: log the files, network requests and programs that this Python opens, to find an app's dependencies.

Most events come from audit hooks (PEP 578), which Python code cannot bypass; http_tracer.py adds HTTP responses. Native
code is not traced. The log is PREHEAT_TRACE/PID.trace, with one JSON array per line: the kind, time.time(), and these
fields:

    start  executable, parent's PID              open   path, "r", or "w" and modules; once each, even if it fails
    copy, rename, link  source, target            spawn  program
    lookup, connect     host, port, modules       http, body   see response_log.py

`modules` are the top-level packages in the call stack, innermost first. URLs are logged without passwords and
signatures, and programs without their arguments, which may contain secrets. Each line is written immediately, and the
file is closed again: an app may be killed at any time, fork, or close all open descriptors.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Set, Tuple

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CODE = (".py", ".pyc", ".pyi", ".so", ".egg-link", ".dist-info")
# Where Python and its packages are installed: what they import is not logged.
_INSTALLED = tuple({os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix, "/usr")})
_NOT_FILES = ("/proc/", "/sys/", "/dev/")
# Packages that only transport a request, and are left out of `modules`.
_CARRIERS = {
    "_preheat_tracer", "_preheat_http_tracer", "_preheat_response_log", "_preheat_stopwatch", "socket", "ssl", "http",
    "urllib", "urllib3", "requests", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "anyio", "asyncio",
    "threading", "concurrent", "importlib", "_frozen_importlib", "_frozen_importlib_external", "contextlib",
    "functools", "runpy", "tqdm", "joblib", "multiprocessing",
}  # fmt: skip
_DEEPEST = 80

_busy = threading.local()
# Taken before the app can replace it, as tests and libraries that stop the clock do.
_now = time.time


class _Notes:
    """The log of this process, and the events that are logged only once."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = 0
        self.seen: Set[Tuple[str, ...]] = set()

    def once(self, *words: str) -> None:
        """Log an event, unless this process has logged it before."""
        if self.first(*words):
            self.line(*words)

    def first(self, *words: str) -> bool:
        """Return whether this process has not had this event before."""
        self.begin()
        new = words not in self.seen
        self.seen.add(words)
        return new

    def line(self, kind: str, *words: object) -> None:
        """Log an event."""
        self.begin()
        self._write([kind, round(_now(), 4), *words])

    def begin(self) -> None:
        """Log the start of this process, if that has not been logged yet."""
        if self.pid != os.getpid():  # the first call in a new or forked process
            self.pid = os.getpid()
            self.seen = set()
            self._write(["start", round(_now(), 4), sys.executable, os.getppid()])

    def _write(self, line: List[object]) -> None:
        text = json.dumps(line, default=str) + "\n"
        _busy.now = True
        try:
            path = os.path.join(self.folder, "%d.trace" % self.pid)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _append(file, text.encode("utf-8", "backslashreplace"))
            finally:
                os.close(file)
        except OSError:
            pass  # the app must not fail because it is traced
        finally:
            _busy.now = False


def _append(file: int, data: bytes) -> None:
    # write(2) of such a size waits for whoever counts connections (guard/kernel/seccomp.py), pwrite(2) does not. With
    # O_APPEND, Linux appends in any case.
    if sys.platform == "linux":
        os.pwrite(file, data, 0)
    else:
        os.write(file, data)


def watch(folder: str) -> None:
    """Start to trace into `folder`; do nothing if it does not exist."""
    if not os.path.isdir(folder):
        return
    notes = _Notes(folder)
    acts: Dict[str, Callable[[Any], None]] = {
        "open": lambda args: _opened(notes, args),
        "shutil.copyfile": lambda args: _copied(notes, args),
        "os.rename": lambda args: _named_anew(notes, "rename", args),
        "os.link": lambda args: _named_anew(notes, "link", args),
        "os.symlink": lambda args: _named_anew(notes, "link", args),
        "socket.connect": lambda args: _connected(notes, args),
        "socket.getaddrinfo": lambda args: _looked_up(notes, args),
        "subprocess.Popen": lambda args: notes.once("spawn", _text(args[0] or _first(args[1]))),
    }

    def hook(event: str, args: Any) -> None:
        act = acts.get(event)
        if act is not None and not getattr(_busy, "now", False):
            with suppress(Exception):  # the app must not fail because it is traced
                act(args)

    notes.begin()
    log = _beside("response_log").ResponseLog(folder, notes.line, _modules)
    _beside("http_tracer").watch(log)
    sys.addaudithook(hook)


def _beside(name: str) -> Any:
    """Load a module from this folder, which is not a package in the app's Python."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    spec = importlib.util.spec_from_file_location("_preheat_" + name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _opened(notes: _Notes, args: Any) -> None:
    path, _, flags = args
    if isinstance(path, int):
        return
    name = _text(path)
    writes = bool(flags & _WRITES)
    name = os.path.abspath(name)
    if not writes and name.startswith(_INSTALLED) and (name.endswith(_CODE) or ".so." in name):
        return
    if name == getattr(_busy, "copying", ""):
        _busy.copying = ""
        return
    if name.startswith((*_NOT_FILES, notes.folder + os.sep)):
        return
    if writes:
        if notes.first("open", name, "w"):
            notes.line("open", name, "w", _modules())
    else:
        notes.once("open", name, "r")


def _copied(notes: _Notes, args: Any) -> None:
    source, target = (os.path.abspath(_text(path)) for path in args[:2])
    # The copy will open its source next: do not log that as a read by the app.
    _busy.copying = source
    notes.line("copy", source, target)


def _named_anew(notes: _Notes, kind: str, args: Any) -> None:
    source, target = _text(args[0]), os.path.abspath(_text(args[1]))
    if kind == "link" and not os.path.isabs(source):
        source = os.path.join(os.path.dirname(target), source)
    notes.line(kind, os.path.abspath(source), target)


def _connected(notes: _Notes, args: Any) -> None:
    address = args[1]
    if isinstance(address, tuple):
        notes.line("connect", _text(address[0]), address[1], _modules())


def _looked_up(notes: _Notes, args: Any) -> None:
    if args[0] is not None:
        notes.line("lookup", _text(args[0]), args[1], _modules())


def _modules() -> List[str]:
    """List up to four packages in the call stack, innermost first, without those in _CARRIERS."""
    found: List[str] = []
    frame = sys._getframe(1)
    for _ in range(_DEEPEST):
        name = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if name and name not in _CARRIERS and name not in found:
            found.append(name)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return found[:4]


def _text(path: Any) -> str:
    return os.fsdecode(path) if not isinstance(path, str) else path


def _first(words: Any) -> Any:
    return words if isinstance(words, (str, bytes, os.PathLike)) else next(iter(words), "")
