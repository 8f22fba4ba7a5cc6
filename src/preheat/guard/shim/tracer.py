"""Tracer: log the files, network requests and programs that this Python opens, to find an app's dependencies.

Most events come from audit hooks (PEP 578), which Python code cannot bypass. HTTP responses come from wrappers around
http.client (which urllib, urllib3 and requests use), httpx and aiohttp. Native code is not traced. The log is
PREHEAT_TRACE/PID.trace, with one JSON array per line: the kind, time.time(), and these fields:

    start  executable, parent's PID              open   path, "r" or "w"; once per mode, even if the open fails
    copy, rename, link  source, target            spawn  program
    lookup, connect     host, port, modules       http   method, URL, status, size or null, location or "", modules

`modules` are the top-level packages in the call stack, innermost first. URLs are logged without passwords and
signatures, and programs without their arguments, which may contain secrets. Each line is written immediately, and the
file is closed again: an app may be killed at any time, fork, or close all open descriptors.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import os
import sys
import threading
import time
from contextlib import suppress
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CODE = (".py", ".pyc", ".pyi", ".so", ".egg-link", ".dist-info")
_NOT_FILES = ("/proc/", "/sys/", "/dev/")
# Packages that only transport a request, and are left out of `modules`.
_CARRIERS = {
    "_preheat_tracer", "_preheat_stopwatch", "socket", "ssl", "http", "urllib", "urllib3", "requests", "httpx",
    "httpx2", "httpcore", "httpcore2", "aiohttp", "anyio", "asyncio", "threading", "concurrent", "importlib",
    "_frozen_importlib", "_frozen_importlib_external", "contextlib", "functools", "runpy", "tqdm", "joblib",
    "multiprocessing",
}  # fmt: skip
_SECRETS = ("signature", "token", "credential", "password", "secret", "key", "policy", "sig=", "x-amz", "x-goog")
_DEEPEST = 80
_LONGEST = 4000

_busy = threading.local()


class _Notes:
    """The log of this process, and the events that are logged only once."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = 0
        self.seen: Set[Tuple[str, ...]] = set()

    def once(self, *words: str) -> None:
        """Log an event, unless this process has logged it before."""
        self.begin()
        if words not in self.seen:
            self.seen.add(words)
            self.line(*words)

    def line(self, kind: str, *words: object) -> None:
        """Log an event."""
        self.begin()
        self._write([kind, round(time.time(), 4), *words])

    def begin(self) -> None:
        """Log the start of this process, if that has not been logged yet."""
        if self.pid != os.getpid():  # the first call in a new or forked process
            self.pid = os.getpid()
            self.seen = set()
            self._write(["start", round(time.time(), 4), sys.executable, os.getppid()])

    def _write(self, line: List[object]) -> None:
        text = json.dumps(line, default=str) + "\n"
        _busy.now = True
        try:
            path = os.path.join(self.folder, "%d.trace" % self.pid)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(file, text.encode("utf-8", "backslashreplace"))
            finally:
                os.close(file)
        except OSError:
            pass  # the app must not fail because it is traced
        finally:
            _busy.now = False


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
    sys.addaudithook(hook)
    sys.meta_path.insert(0, _Coats(notes))


def _opened(notes: _Notes, args: Any) -> None:
    path, _, flags = args
    if isinstance(path, int):
        return
    name = _text(path)
    if name.endswith(_CODE) or ".so." in name:
        return
    name = os.path.abspath(name)
    if name == getattr(_busy, "copying", ""):
        _busy.copying = ""
        return
    if name.startswith(_NOT_FILES):
        return
    notes.once("open", name, "w" if flags & _WRITES else "r")


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


# ---- HTTP --------------------------------------------------------------------------------------------------------


class _TracingLoader(importlib.abc.Loader):
    """Load a module with its own loader, then wrap its functions."""

    def __init__(self, own: importlib.abc.Loader, coat: Callable[[ModuleType], None]) -> None:
        self._own = own
        self._coat = coat

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Optional[ModuleType]:
        """See importlib.abc.Loader."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """See importlib.abc.Loader."""
        self._own.exec_module(module)
        with suppress(AttributeError):  # an unsupported version: its requests are not logged
            self._coat(module)


class _Coats(importlib.abc.MetaPathFinder):
    """Intercept the import of HTTP clients, to wrap them."""

    def __init__(self, notes: _Notes) -> None:
        self._coats: Dict[str, Callable[[ModuleType], None]] = {
            "http.client": lambda module: _coat_http(notes, module),
            "httpx._client": lambda module: _coat_httpx(notes, module),
            "httpx2._client": lambda module: _coat_httpx(notes, module),
            "aiohttp.client": lambda module: _coat_aiohttp(notes, module),
        }
        module = sys.modules.get("http.client")
        if module is not None:
            self._coats.pop("http.client")(module)

    def find_spec(
        self, name: str, path: Optional[Sequence[str]] = None, target: Optional[ModuleType] = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        """See importlib.abc.MetaPathFinder."""
        if name not in self._coats:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _TracingLoader(spec.loader, self._coats[name])
                return spec
        return None


def _coat_http(notes: _Notes, module: Any) -> None:
    plain = module.HTTPConnection
    putrequest, getresponse = plain.putrequest, plain.getresponse

    def noting_request(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        self._preheat_asked = (method, url)
        return putrequest(self, method, url, *args, **kwargs)

    def noting_response(self: Any, *args: Any, **kwargs: Any) -> Any:
        response = getresponse(self, *args, **kwargs)
        method, url = getattr(self, "_preheat_asked", ("", ""))
        if url.startswith("/"):
            scheme = "https" if getattr(self, "default_port", 80) == 443 else "http"
            host, port = (
                getattr(self, "_tunnel_host", None) or self.host,
                getattr(self, "_tunnel_port", None) or self.port,
            )
            url = "%s://%s%s%s" % (scheme, host, "" if port in (80, 443) else ":%s" % port, url)
        _note(notes, method, url, response.status, response.headers)
        return response

    plain.putrequest, plain.getresponse = noting_request, noting_response


def _coat_httpx(notes: _Notes, module: Any) -> None:
    send, send_async = module.Client._send_single_request, module.AsyncClient._send_single_request

    def noting(self: Any, request: Any) -> Any:
        response = send(self, request)
        _note(notes, request.method, str(request.url), response.status_code, response.headers)
        return response

    async def noting_async(self: Any, request: Any) -> Any:
        response = await send_async(self, request)
        _note(notes, request.method, str(request.url), response.status_code, response.headers)
        return response

    module.Client._send_single_request, module.AsyncClient._send_single_request = noting, noting_async


def _coat_aiohttp(notes: _Notes, module: Any) -> None:
    ask = module.ClientSession._request

    async def noting(self: Any, method: str, url: Any, **kwargs: Any) -> Any:
        response = await ask(self, method, url, **kwargs)
        for one in (*response.history, response):
            _note(notes, one.method, str(one.url), one.status, one.headers)
        return response

    module.ClientSession._request = noting


def _note(notes: _Notes, method: str, url: str, status: int, headers: Any) -> None:
    with suppress(Exception):  # the app must not fail because it is traced
        said = headers.get("Content-Length") or ""
        size = int(said) if said.isdigit() and not headers.get("Content-Encoding") else None
        notes.line("http", method, _harmless(url), status, size, _harmless(headers.get("Location") or ""), _modules())


def _harmless(url: str) -> str:
    """Return a URL without credentials: no user or password, and no query string that may contain a secret."""
    front, question, query = url[:_LONGEST].partition("?")
    scheme, there, rest = front.partition("://")
    host, slash, path = rest.partition("/")
    front = scheme + there + host.rpartition("@")[2] + slash + path if there else front
    secret = any(word in query.lower() for word in _SECRETS)
    return front if secret or not question else front + question + query


def _text(path: Any) -> str:
    return os.fsdecode(path) if not isinstance(path, str) else path


def _first(words: Any) -> Any:
    return words if isinstance(words, (str, bytes, os.PathLike)) else next(iter(words), "")
