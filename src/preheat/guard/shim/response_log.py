"""Response log: the HTTP responses that this Python receives, and the digest of each body as the app reads it.

The log is the tracer's, with these lines:

    http  method, URL, status, size or null, location or "", modules, key of the URL, key of the location or ""
    body  URL, status, offset, bytes read, total size or null, sha256 of these, saved file or "", key of the URL

A key is a hash of the whole URL, whose logged form lacks signatures: two redirects may then lead to the same URL.
A `body` line is written when the body ends or is abandoned; its offset is not 0 for a range. A body that begins like a
zip, tar, gzip, bzip2, xz or zstd file is also saved, as PREHEAT_TRACE/bodies/NAME, since an app that unpacks an archive
usually removes it or never writes it. Bodies of the mirror itself (PREHEAT_TRACE_HUBS) are not hashed: it has them.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from typing import Any, Callable, List, Optional
from urllib.parse import parse_qsl, urljoin

# Parts of the names of parameters; core/ref.py has the names that an address in a recipe must not have.
_SECRETS = (
    "signature", "token", "credential", "passw", "pwd", "secret", "auth", "key", "jwt", "session", "policy", "sig",
    "x-amz", "x-goog",
)  # fmt: skip
_LONGEST = 4000
# Magic bytes of archives: zip, gzip, bzip2, xz, zstd. A plain tar has its magic at byte 257.
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_TAR = slice(257, 262)
# Checkpoints of torch and numpy are zips too, but are read as they are: the name of the first member tells.
_WEIGHTS = re.compile(
    rb"PK\x03\x04.{26}[^\0]{0,200}?(?:data\.pkl|\.npy|/version|/byteorder|\.format_version)", re.DOTALL
)
_NOT_UNPACKED = (".pt", ".pth", ".ckpt", ".bin", ".npz", ".npy", ".keras", ".onnx", ".safetensors", ".pkl", ".joblib")
# Bytes. Larger archives are not saved a second time.
_MOST_SAVED = 8 << 30
_LENGTH = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")

Note = Callable[..., None]


class ResponseLog:
    """Where responses are logged, and bodies saved."""

    def __init__(self, folder: str, note: Note, modules: Callable[[], List[str]]) -> None:
        self.folder = os.path.join(folder, "bodies")
        self.note = note
        self.modules = modules
        self.skipped = tuple(url for url in os.environ.get("PREHEAT_TRACE_HUBS", "").split() if url)

    def response(self, method: str, url: str, status: int, headers: Any) -> Optional[ResponseBody]:
        """Log a response; return its body, if its bytes are to be added; None for errors and hubs."""
        with suppress(Exception):  # the app must not fail because it is traced
            size = _size(headers)
            location = _harmless(headers.get("Location") or "")
            leads = _key(urljoin(url, headers["Location"])) if location and 300 <= status < 400 else ""
            self.note("http", method, _harmless(url), status, size, location, self.modules(), _key(url), leads)
            if method == "GET" and status in (200, 206) and not url.startswith(self.skipped or ("\0",)):
                return ResponseBody(self, url, status, size, headers)
        return None


class ResponseBody:
    """The body of one response: hashed as it is read, and saved if it begins like an archive."""

    def __init__(self, log: ResponseLog, url: str, status: int, size: Optional[int], headers: Any) -> None:
        self._log, self._url, self._status, self._size = log, _harmless(url), status, size
        self._key = _key(url)
        self._start, self._total = 0, size
        ranged = _RANGE.match(headers.get("Content-Range") or "") if status == 206 else None
        if ranged is not None:
            self._start = int(ranged.group(1))
            self._total = None if ranged.group(2) == "*" else int(ranged.group(2))
        self._hash = hashlib.sha256()
        self._read = 0
        self._front = b""
        self._saved = ""
        self._ended = False
        self.inside = False  # one reading method calls another

    def add(self, data: Any) -> None:
        """Add the next bytes; write the line after the last ones."""
        if self._ended or not data:
            return
        with suppress(Exception):
            self._hash.update(data)
            if self._read == 0 and self._start == 0:
                self._front = bytes(data[:512])
                self._begin_saving()
            self._read += len(data)
            if self._saved:
                self._save(data)
            if self._size is not None and self._read >= self._size:
                self.end()

    def end(self) -> None:
        """Write the line, unless it was written before or nothing was read."""
        if self._ended or not self._read:
            return
        self._ended = True
        with suppress(Exception):
            words = (
                self._start,
                self._read,
                self._total,
                self._hash.hexdigest(),
                os.path.basename(self._saved),
                self._key,
            )
            self._log.note("body", self._url, self._status, *words)

    def _begin_saving(self) -> None:
        front = self._front
        packed = front.startswith(_ARCHIVES) or front[_TAR] == b"ustar"
        if packed and not _WEIGHTS.match(front) and not self._url.partition("?")[0].lower().endswith(_NOT_UNPACKED):
            os.makedirs(self._log.folder, mode=0o700, exist_ok=True)
            self._saved = os.path.join(self._log.folder, "%d-%x" % (os.getpid(), id(self)))

    def _save(self, data: Any) -> None:
        try:
            if self._read > _MOST_SAVED:
                raise OSError("too large")
            # Opened each time, as the log: an app may fork or close all descriptors.
            file = os.open(self._saved, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file, rest) :]
            finally:
                os.close(file)
        except OSError:
            with suppress(OSError):
                os.unlink(self._saved)
            self._saved = ""


def _key(url: str) -> str:
    return hashlib.sha256(url.partition("#")[0].encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _size(headers: Any) -> Optional[int]:
    said = headers.get("Content-Length") or ""
    return int(said) if _LENGTH.fullmatch(said) and not headers.get("Content-Encoding") else None


def _harmless(url: str) -> str:
    """Return a URL without credentials: no user or password, and no query string that may contain a secret."""
    front, question, query = url[:_LONGEST].partition("?")
    scheme, there, rest = front.partition("://")
    host, slash, path = rest.partition("/")
    front = scheme + there + host.rpartition("@")[2] + slash + path if there else front
    names = [name.lower() for name, _ in parse_qsl(query, keep_blank_values=True)] if question else []
    secret = any(word in name for name in names for word in _SECRETS)
    return front if secret or not question else front + question + query
