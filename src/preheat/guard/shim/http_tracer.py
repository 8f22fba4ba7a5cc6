"""HTTP tracer: wrap the HTTP clients of this Python, so that response_log.py gets their responses and bodies.

It wraps http.client (which urllib, urllib3 and requests use), urllib3's chunks, httpx and aiohttp.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence

if TYPE_CHECKING:
    from preheat.guard.shim.response_log import ResponseBody, ResponseLog


def watch(log: ResponseLog) -> None:
    """Start to add responses to `log`."""
    sys.meta_path.insert(0, _Coats(log))


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

    def __init__(self, log: ResponseLog) -> None:
        self._coats: Dict[str, Callable[[ModuleType], None]] = {
            "http.client": lambda module: _coat_http(log, module),
            "urllib3.response": _coat_urllib3,
            "pip._vendor.urllib3.response": _coat_urllib3,
            "httpx._client": lambda module: _coat_httpx(log, module),
            "httpx2._client": lambda module: _coat_httpx(log, module),
            "aiohttp.client": lambda module: _coat_aiohttp(log, module),
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


def _coat_http(log: ResponseLog, module: Any) -> None:
    plain, answer = module.HTTPConnection, module.HTTPResponse
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
        response._preheat_body = log.response(method, url, response.status, response.headers)
        return response

    plain.putrequest, plain.getresponse = noting_request, noting_response
    for name in ("read", "read1", "readinto", "readline", "_safe_read"):
        if hasattr(answer, name):
            setattr(answer, name, _noting_read(getattr(answer, name), fills=name == "readinto"))
    close = answer.close

    def noting_close(self: Any) -> Any:
        body = getattr(self, "_preheat_body", None)
        if body is not None and not body.inside:
            body.end()
        return close(self)

    answer.close = noting_close


def _noting_read(read: Callable[..., Any], fills: bool) -> Callable[..., Any]:
    """Return a reading method of http.client that adds what it returns, or fills, to the response's body."""

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        body = getattr(self, "_preheat_body", None)
        if body is None or body.inside:
            return read(self, *args, **kwargs)
        body.inside = True
        try:
            got = read(self, *args, **kwargs)
        finally:
            body.inside = False
        if fills:
            body.add(memoryview(args[0]).cast("B")[:got] if args and got else b"")
        else:
            body.add(got)
        if self.fp is None:
            body.end()
        return got

    return noting


def _coat_urllib3(module: Any) -> None:
    """Take the chunks of urllib3, which reads a chunked body itself, from below http.client's methods."""
    handle_chunk = module.HTTPResponse._handle_chunk

    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        body = getattr(self._fp, "_preheat_body", None)
        if body is None or body.inside:
            return handle_chunk(self, *args, **kwargs)
        body.inside = True
        try:
            got = handle_chunk(self, *args, **kwargs)
        finally:
            body.inside = False
        body.add(got)
        return got

    module.HTTPResponse._handle_chunk = noting


class _Stream:
    """A stream of httpx, sync or async, whose chunks are added to a body."""

    def __init__(self, own: Any, body: ResponseBody) -> None:
        self._own, self._body = own, body

    def __iter__(self) -> Any:
        for chunk in self._own:
            self._body.add(chunk)
            yield chunk
        self._body.end()

    async def __aiter__(self) -> Any:
        async for chunk in self._own:
            self._body.add(chunk)
            yield chunk
        self._body.end()

    def __getattr__(self, name: str) -> Any:
        if name in ("close", "aclose"):
            self._body.end()
        return getattr(self._own, name)


def _coat_httpx(log: ResponseLog, module: Any) -> None:
    send, send_async = module.Client._send_single_request, module.AsyncClient._send_single_request

    def note(request: Any, response: Any) -> None:
        body = log.response(request.method, str(request.url), response.status_code, response.headers)
        with suppress(Exception):
            if body is not None:
                response.stream._stream = _Stream(response.stream._stream, body)

    def noting(self: Any, request: Any) -> Any:
        response = send(self, request)
        note(request, response)
        return response

    async def noting_async(self: Any, request: Any) -> Any:
        response = await send_async(self, request)
        note(request, response)
        return response

    module.Client._send_single_request, module.AsyncClient._send_single_request = noting, noting_async


def _coat_aiohttp(log: ResponseLog, module: Any) -> None:
    ask = module.ClientSession._request
    # By id, since aiohttp's readers have neither weak references nor room for an attribute.
    bodies: Dict[int, ResponseBody] = {}
    _coat_stream(bodies)

    async def noting(self: Any, method: str, url: Any, **kwargs: Any) -> Any:
        response = await ask(self, method, url, **kwargs)
        for one in (*response.history, response):
            body = log.response(one.method, str(one.url), one.status, one.headers)
        with suppress(Exception):
            bodies.pop(id(response.content), None)
            if body is not None:
                bodies[id(response.content)] = body
        return response

    module.ClientSession._request = noting


def _coat_stream(bodies: Dict[int, ResponseBody]) -> None:
    """Add what aiohttp's readers return to the body of their response; all methods end in these two."""
    reader = sys.modules["aiohttp.streams"].StreamReader  # aiohttp.client has imported it

    def wrap(name: str) -> None:
        read = getattr(reader, name)

        def noting(self: Any, *args: Any) -> Any:
            body = bodies.get(id(self))
            if body is None or body.inside:
                return read(self, *args)
            body.inside = True
            try:
                got = read(self, *args)
            finally:
                body.inside = False
            body.add(got)
            if self.at_eof():
                body.end()
                bodies.pop(id(self), None)
            return got

        setattr(reader, name, noting)

    wrap("_read_nowait")
    wrap("_read_nowait_chunk")
