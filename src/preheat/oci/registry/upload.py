"""Upload: upload one blob to a registry in chunks, resumed from the registry's offset.

OCI distribution specification 1.1, "Pushing a blob in chunks": the response to POST contains the URL of the session,
the response to each PATCH the next URL, and PUT with the digest completes the upload.
"""

import hashlib
import re
from collections.abc import Callable, Iterator

from preheat.core.digest import Digest, sha256
from preheat.core.errors import HubUnavailable, ImageError
from preheat.net.http import HttpDocument, Transport
from preheat.oci.model.content import Content, chunks, require_digest
from preheat.oci.registry.registry import Registry
from preheat.oci.registry.response_parsing import header, read_offset, resolved, with_query

OnBytes = Callable[[int], None]
# A registry may require larger chunks (OCI-Chunk-Min-Length), and a proxy before it smaller ones: nginx's default is
# 1 MiB. It responds with 413 or, before it has read the request, just closes the connection.
_LEAST = 256 << 10
_ROUNDS = 6


class Upload:
    """A single upload. The bytes are hashed once while they are sent, even if some are sent again."""

    def __init__(self, registry: Registry, transport: Transport, content: Content, on_bytes: OnBytes) -> None:
        self._registry = registry
        self._transport = transport
        self._content = content
        self._on_bytes = on_bytes
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._least = _LEAST

    def send(self, location: str = "") -> Digest:
        """Upload the content, into the session at `location` if set. Return the digest.

        Raise ImageError if the registry rejects it, or if the bytes do not match the content's digest.
        """
        failures = 0
        while True:
            try:
                url = location or self._begin()
                return self._finish(self._send_all(url))
            except HubUnavailable as error:
                # The session is lost, or the final response was: restart, a limited number of times.
                failures, location = failures + 1, ""
                if self._hashed == self._content.size and self._registry.has(found := sha256(self._hash.hexdigest())):
                    return found
                if failures >= _ROUNDS:
                    raise ImageError(
                        f"cannot upload {self._content.name} to {self._registry.name}: {error.message}",
                        hint="run it again: uploaded layers are not sent again",
                        end=self._registry.end,
                    ) from error

    def _begin(self) -> str:
        url = self._registry.url("blobs", "uploads", "")
        reply = self._registry.ask(
            lambda shown: self._transport.send("POST", url, {"Content-Length": "0", **shown}), url, push=True
        )
        self._registry.expect(reply, {202}, f"{self._registry.name} rejected the upload of a blob")
        least = header(reply.headers, "OCI-Chunk-Min-Length")
        if re.fullmatch("[0-9]{1,12}", least):
            self._least = max(_LEAST, int(least))
        return self._next(url, reply)

    def _send_all(self, url: str) -> str:
        sent, silent = 0, 0
        while sent < self._content.size:
            before = sent
            try:
                url, sent = self._send_one(url, sent)
                silent = 0 if sent > before else silent + 1
                if silent >= _ROUNDS:
                    raise HubUnavailable("the registry accepts no more bytes")
            except HubUnavailable as error:
                silent += 1
                if silent >= _ROUNDS:
                    raise
                self._registry.wait(error, silent)
                url, sent = self._arrived(url, before)
                if sent == before and not error.status:
                    self._shrink()
        return url

    def _send_one(self, url: str, sent: int) -> tuple[str, int]:
        """Send the chunk that starts at byte `sent`. Return the next URL, and the number of bytes that have arrived."""
        stop = min(sent + max(self._registry.chunk, self._least), self._content.size)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(stop - sent),
            "Content-Range": f"{sent}-{stop - 1}",
        }
        reply = self._registry.ask_once(
            lambda shown: self._transport.send("PATCH", url, {**headers, **shown}, self._bytes(sent, stop)), url
        )
        if reply.status == 413 and self._shrink():
            return self._arrived(url, sent)
        if reply.status in (401, 416):
            return self._arrived(url, sent)
        if reply.status == 404:
            raise HubUnavailable("the registry lost the upload")
        self._registry.expect(reply, {202, 201, 204}, f"{self._registry.name} rejected {self._content.name}")
        arrived = read_offset(header(reply.headers, "Range"))
        return self._next(url, reply), stop if arrived is None else min(arrived, stop)

    def _shrink(self) -> bool:
        """Upload in smaller chunks from now on; return whether that is possible."""
        if self._registry.chunk <= self._least:
            return False
        self._registry.chunk = max(self._registry.chunk // 4, self._least)
        return True

    def _arrived(self, url: str, otherwise: int) -> tuple[str, int]:
        """Request the number of bytes that have arrived, with retries."""
        reply = self._registry.ask(lambda shown: self._transport.get(url, shown), url, push=True)
        if reply.status in (400, 404, 416):
            raise HubUnavailable("the registry lost the upload")
        self._registry.expect(reply, {204, 202, 200}, f"{self._registry.name} cannot resume {self._content.name}")
        arrived = read_offset(header(reply.headers, "Range"))
        return self._next(url, reply), otherwise if arrived is None else min(arrived, self._content.size)

    def _finish(self, url: str) -> Digest:
        for _ in self._bytes(self._hashed, self._content.size):
            pass  # hash the bytes that arrived in an earlier session and were not read in this one
        digest = sha256(self._hash.hexdigest())
        require_digest(self._content, digest)
        last = with_query(url, digest=str(digest))
        reply = self._registry.ask_once(
            lambda shown: self._transport.send("PUT", last, {"Content-Length": "0", **shown}), last
        )
        if reply.status == 404:
            raise HubUnavailable("the registry lost the upload")
        self._registry.expect(reply, {201, 204}, f"{self._registry.name} did not store {self._content.name}")
        return digest

    def _bytes(self, start: int, stop: int) -> Iterator[memoryview]:
        at = start
        for chunk in chunks(self._content.pieces(start)):
            view = chunk[: stop - at]
            at += len(view)
            if at > self._hashed:
                fresh = view[len(view) - (at - self._hashed) :] if at - len(view) < self._hashed else view
                self._hash.update(fresh)
                self._on_bytes(len(fresh))
                self._hashed = at
            yield view
            if at >= stop:
                return

    def _next(self, url: str, reply: HttpDocument) -> str:
        location = header(reply.headers, "Location")
        return resolved(url, location) if location else url
