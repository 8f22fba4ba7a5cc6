"""Site: how a host of the small internet answers; each is a function from a request to an answer."""

import hashlib
import mimetypes
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from preheat.mirror.http.messages import Answer, Request, Slice

Site = Callable[[Request], Answer]
MISSING = b"not here\n"


def path_of(request: Request) -> str:
    """Return the decoded path of a request."""
    return unquote(urlsplit(request.target).path)


def say(request: Request, body: bytes, kind: str = "text/plain", status: int = 200, **headers: str) -> Answer:
    """Answer with a body; `Retry_After="1"` becomes the header."""
    told = {"Content-Type": kind, "Content-Length": str(len(body))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, told, b"" if request.method == "HEAD" else body)


def missing(request: Request) -> Answer:
    """Answer with 404."""
    return say(request, MISSING, status=404)


def sent_to(request: Request, url: str, status: int = 302) -> Answer:
    """Redirect."""
    return say(request, b"", status=status, Location=url)


def file(request: Request, path: Path, **headers: str) -> Answer:
    """Answer with a file or the range of it that was asked for, as static servers do."""
    if not path.is_file():
        return missing(request)
    size = path.stat().st_size
    told = {
        "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": f'"{hashlib.md5(path.read_bytes()).hexdigest()}"',
        "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    start, stop, status = 0, size, 200
    if asked := re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "")):
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last or 0))
        stop = min(size, int(last) + 1) if first and last else size
        if start >= size:
            return say(request, b"", status=416, Content_Range=f"bytes */{size}")
        status = 206
        told["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    told["Content-Length"] = str(stop - start)
    return Answer(status, told, b"" if request.method == "HEAD" else Slice(path, start, stop))


def streamed(request: Request, path: Path, **headers: str) -> Answer:
    """Answer with a file without its length or ranges, as servers do with archives that they make while sending."""
    if not path.is_file():
        return missing(request)
    told = {"Content-Type": "application/zip", "Transfer-Encoding": "chunked"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = path.read_bytes()
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return Answer(200, told, b"" if request.method == "HEAD" else chunks)


def static(folder: Path) -> Site:
    """Return a site that serves a folder; `index.html` stands for its folder."""

    def answer(request: Request) -> Answer:
        at = folder / path_of(request).strip("/")
        if folder not in (at, *at.parents) or ".." in at.parts:
            return missing(request)
        return file(request, at / "index.html" if at.is_dir() else at)

    return answer
