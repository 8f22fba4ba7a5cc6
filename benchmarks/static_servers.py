"""Static servers: well-kept ones, each told to send one file as fast as its manual knows; run in its own environment.

    PYTHON benchmarks/static_servers.py NAME FILE PORT

For ADR 7: the servers that the mirror's own is compared with. Imports nothing of preheat.
"""

import http.server
import os
import sys
from pathlib import Path
from typing import Any

FILE = sys.argv[2] if len(sys.argv) > 3 else ""
PORT = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def stdlib() -> None:
    """http.server, a thread a connection, socket.sendfile."""

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            with open(FILE, "rb", buffering=0) as file:
                self.send_response(200)
                self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
                self.end_headers()
                self.connection.sendfile(file)

        def log_message(self, *_: object) -> None:
            pass

    http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Answer).serve_forever()


def aiohttp() -> None:
    """aiohttp's FileResponse: one loop, its sendfile."""
    from aiohttp import web

    async def answer(_: Any) -> Any:
        return web.FileResponse(FILE)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    web.run_app(app, host="127.0.0.1", port=PORT, print=None, access_log=None)


def cheroot() -> None:
    """cheroot's pool of threads, with a gateway that gives the socket to sendfile."""
    from cheroot.server import Gateway, HTTPServer

    class Answer(Gateway):  # type: ignore[misc] # no types there
        def respond(self) -> None:
            with open(FILE, "rb", buffering=0) as file:
                self.req.status = b"200 OK"
                self.req.outheaders = [(b"Content-Length", str(os.fstat(file.fileno()).st_size).encode())]
                self.req.ensure_headers_sent()
                self.req.conn.socket.sendfile(file)

    HTTPServer(("127.0.0.1", PORT), Answer, minthreads=40, maxthreads=512).start()


def gunicorn() -> None:
    """gunicorn's threads, and sendfile by wsgi.file_wrapper."""
    from gunicorn.app.base import BaseApplication

    def answer(environ: Any, start: Any) -> Any:
        start("200 OK", [("Content-Length", str(Path(FILE).stat().st_size))])
        return environ["wsgi.file_wrapper"](open(FILE, "rb", buffering=0), 1 << 20)

    class App(BaseApplication):  # type: ignore[misc] # no types there
        def load_config(self) -> None:
            self.cfg.set("bind", f"127.0.0.1:{PORT}")
            self.cfg.set("threads", 64)
            self.cfg.set("keepalive", 60)

        def load(self) -> Any:
            return answer

    App().run()


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer by `pathsend` where the server has it, else by Starlette's FileResponse."""
    from starlette.responses import FileResponse

    if scope["type"] == "http":
        await FileResponse(FILE)(scope, receive, send)


app = _asgi


def uvicorn() -> None:
    """uvicorn with Starlette's FileResponse."""
    import uvicorn

    uvicorn.run(_asgi, host="127.0.0.1", port=PORT, log_level="error", lifespan="off")


def hypercorn() -> None:
    """hypercorn with Starlette's FileResponse."""
    import asyncio

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{PORT}"]
    asyncio.run(serve(_asgi, config))  # type: ignore[arg-type]


def granian() -> None:
    """granian (Rust) with Starlette's FileResponse, which is its pathsend."""
    from granian import Granian
    from granian.constants import Interfaces

    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["SERVED"] = FILE
    Granian("static_servers:app", address="127.0.0.1", port=PORT, interface=Interfaces.ASGI, log_enabled=False).serve()


FILE = FILE or os.environ.get("SERVED", "")

if __name__ == "__main__":
    {
        "stdlib": stdlib,
        "aiohttp": aiohttp,
        "cheroot": cheroot,
        "gunicorn": gunicorn,
        "uvicorn": uvicorn,
        "hypercorn": hypercorn,
        "granian": granian,
    }[sys.argv[1]]()
