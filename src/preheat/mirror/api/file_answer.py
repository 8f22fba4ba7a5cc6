"""File answer: respond with a file of a snapshot, or a range of it."""

from preheat.core.digest import SHA256
from preheat.core.errors import IntegrityError
from preheat.core.snapshot import File
from preheat.guard.net.byte_ranges import matches_etag, read_range
from preheat.mirror.api.folders import ServedSnapshot
from preheat.mirror.http.lead import about_to_wait
from preheat.mirror.http.messages import Answer, Flow, Request, Slice, refuse

UNVERIFIED = "X-Preheat-Unverified"
STALE = "X-Preheat-Stale"


def give_file(request: Request, found: ServedSnapshot, file: File) -> Answer | None:
    """Return a response with a file, or with the requested range of it; None if the file is unavailable.

    A missing file is downloaded only by GET, and streamed as it arrives. HEAD, 304 and 416 responses never start a
    download.
    """
    found.admit(file)
    place = found.locate(file)
    empty = file.size == 0 and file.digest.hasher(0).hexdigest() == file.digest.hex
    if place is None and found.fetch is None and not empty:
        return None
    etag = f'"{file.digest.hex}"'
    headers = {**provenance(found), "ETag": etag, "Accept-Ranges": "bytes"}
    if file.digest.algorithm == SHA256:
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(file.size)}
    if matches_etag(request.headers.get("if-none-match", ""), etag):
        return Answer(304, headers)
    headers |= {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
    wanted = None
    if request.method == "GET" and request.headers.get("if-range", etag) == etag:
        wanted = read_range(request.headers.get("range", ""), file.size)
    if wanted is not None and 0 < wanted[0] < wanted[1] == file.size and not found.continues(file):
        wanted = None  # the whole file, from the start (RFC 9110 section 14.2)
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
        return Answer(status, headers)  # clients create empty files without a request, so none was ever downloaded
    if file.size == 0 and not empty:
        raise IntegrityError(f"{file.path} is listed as empty, but its digest is not that of an empty file")
    assert found.fetch is not None
    about_to_wait()
    arriving = found.fetch(file)
    if empty:
        return Answer(status, headers, b"")  # no bytes to wait for
    age = arriving.await_first(start, stop)
    if not arriving.verified and (start, stop) != (0, file.size):
        headers[UNVERIFIED] = "not verified: the file is still being downloaded"
    return Answer(status, headers, Flow(arriving, start, stop, age))


def provenance(found: ServedSnapshot) -> dict[str, str]:
    """Return the headers with the commit, and with a warning if upstream may have a newer one."""
    headers = {"X-Repo-Commit": found.snapshot.commit}
    if found.stale:
        headers[STALE] = "upstream does not answer; this is the last known commit"
    return headers
