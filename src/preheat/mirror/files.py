"""Files: a file of a snapshot, or a part of it, as an answer."""

import re
from pathlib import Path

from preheat.digest import SHA256
from preheat.mirror.forms import Answer, Request, Slice, refuse
from preheat.snapshot import File, Snapshot


def give_file(request: Request, snapshot: Snapshot, file: File, place: Path) -> Answer:
    """Answer with the bytes that lie at `place`, or with the range of them that was asked for."""
    etag = f'"{file.digest.hex}"'
    headers = {"X-Repo-Commit": snapshot.commit, "ETag": etag, "Accept-Ranges": "bytes"}
    if file.digest.algorithm == SHA256:
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(file.size)}
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Answer(304, headers)
    headers |= {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
    wanted = None
    if request.method == "GET" and request.headers.get("if-range", etag) == etag:
        wanted = _range(request.headers.get("range", ""), file.size)
    if wanted is None:
        return Answer(200, headers | {"Content-Length": str(file.size)}, Slice(place, 0, file.size))
    start, stop = wanted
    if start >= stop:
        return refuse(416, f"the file has {file.size} bytes", Content_Range=f"bytes */{file.size}")
    headers |= {"Content-Length": str(stop - start), "Content-Range": f"bytes {start}-{stop - 1}/{file.size}"}
    return Answer(206, headers, Slice(place, start, stop))


def _matches(condition: str, etag: str) -> bool:
    """Whether an If-None-Match names the file (RFC 9110 section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return "*" in tags or etag in tags


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Read a Range (RFC 9110 section 14.1.2): empty if it cannot be satisfied, None if it is not a single good one."""
    match = re.fullmatch(r"\s*bytes\s*=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header, re.IGNORECASE)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
