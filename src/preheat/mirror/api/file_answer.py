"""File answer: a file of a snapshot, or a range of it, as a response."""

import contextlib
import re
from pathlib import Path

from preheat.core.digest import SHA256
from preheat.core.errors import IntegrityError
from preheat.core.snapshot import File
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.http.messages import Answer, Flow, Request, Slice, refuse

UNVERIFIED = "X-Preheat-Unverified"
STALE = "X-Preheat-Stale"


def give_file(request: Request, found: ServedSnapshot, file: File) -> Answer | None:
    """Answer with the bytes of a file, or with the range of them that was asked for; None if they cannot be had here.

    What is not here is fetched only if its bytes are asked for, and sent as it comes.
    """
    found.admit(file)
    place = found.locate(file)
    if place is not None:
        _require_size(place, file)
    empty = file.size == 0 and file.digest.hasher(0).hexdigest() == file.digest.hex
    if place is None and found.fetch is None and not empty:
        return None
    etag = f'"{file.digest.hex}"'
    headers = {**provenance(found), "ETag": etag, "Accept-Ranges": "bytes"}
    if file.digest.algorithm == SHA256:
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(file.size)}
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Answer(304, headers)
    headers |= {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
    wanted = None
    if request.method == "GET" and request.headers.get("if-range", etag) == etag:
        wanted = _range(request.headers.get("range", ""), file.size)
    if wanted is not None and 0 < wanted[0] < wanted[1] == file.size and not found.continues(file):
        wanted = None  # the whole file, from its beginning (RFC 9110 section 14.2)
    start, stop = wanted or (0, file.size)
    if wanted is not None:
        if start >= stop:
            return refuse(416, f"the file has {file.size} bytes", Content_Range=f"bytes */{file.size}")
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    headers["Content-Length"] = str(stop - start)
    status = 200 if wanted is None else 206
    if request.method == "HEAD":
        return Answer(status, headers)
    if place is not None:
        found.prove(file)
        return Answer(status, headers, Slice(place, start, stop))
    if empty and found.fetch is None:
        return Answer(status, headers)  # clients make an empty file without asking for its bytes, so none ever came
    if file.size == 0 and not empty:
        raise IntegrityError(f"{file.path} is said to be empty, and its digest says that it is not")
    assert found.fetch is not None
    arriving = found.fetch(file)
    if empty:
        return Answer(status, headers, b"")  # there is nothing to wait for
    age = arriving.await_first(start, stop)
    if not arriving.verified and (start, stop) != (0, file.size):
        headers[UNVERIFIED] = "these bytes are not checked yet: the file is still on its way"
    return Answer(status, headers, Flow(arriving, start, stop, age))


def _require_size(place: Path, file: File) -> None:
    """Raise IntegrityError if a listing has another size for a blob than it has: the answer would seem to be whole."""
    with contextlib.suppress(OSError):  # it has just left: whoever opens it will say so
        size = place.stat().st_size
        if size != file.size:
            raise IntegrityError(f"{file.path} is said to have {file.size} bytes, and what has its digest has {size}")


def provenance(found: ServedSnapshot) -> dict[str, str]:
    """Say which commit the answer is about, and whether upstream may know a newer one."""
    headers = {"X-Repo-Commit": found.snapshot.commit}
    if found.stale:
        headers[STALE] = "the upstream does not answer; this is the last commit it told"
    return headers


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
